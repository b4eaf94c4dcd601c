"""CLEAR (Chen & Mueller 2024): data curation for language-model fine-tuning."""
