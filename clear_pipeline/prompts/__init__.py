"""What is asked of a model, each prompt beside the parser of its reply."""
