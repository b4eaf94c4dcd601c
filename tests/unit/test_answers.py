"""Answers are compared by what they mean: the same value in another form, and near misses."""

from __future__ import annotations

import pytest

from clear_pipeline.scoring.answers import exact_match, is_value, same_answer

BT = "```"

SAME = {
    "thousands": ("$1,560.00", "1560"),
    "decimals": ("1.50", "1.5"),
    "minus zero": ("-0", "0"),
    "unicode minus": ("\u22125", "-5"),
    "sign after the currency": ("$-5", "-$5"),
    "scientific": ("1.5e3", "1500"),
    "power of ten": ("$1.5 \\times 10^{3}$", "1,500"),
    "fraction and decimal": ("1/2", "0.5"),
    "LaTeX fraction": ("\\frac{3}{4}", "$\\dfrac{6}{8}$"),
    "mixed number": ("2 1/2", "2.5"),
    "vulgar fraction": ("2\u00bd cups", "2.5 cups"),
    "per cent as a share": ("50%", "0.5"),
    "per cent in words": ("50 percent", "50%"),
    "unit left out": ("18", "18 dollars"),
    "currency in words": ("$18", "18 dollars"),
    "unit in words": ("5 km", "5 kilometres"),
    "plural": ("1 egg", "1 eggs"),
    "number in words": ("twelve apples", "12 apples"),
    "scale": ("1.2 million", "1,200,000"),
    "bold": ("**42**.", "42"),
    "inline math": ("\\(42\\)", "$42$"),
    "degrees": ("90^\\circ", "90 degrees"),
    "day first": ("3 May 2021", "2021-05-03"),
    "ordinal": ("May 3rd, 2021", "the 3rd of May 2021"),
    "weekday": ("Monday, May 3, 2021", "2021/5/3"),
    "only one order is a date": ("13/04/2021", "April 13, 2021"),
    "month and year": ("Sept 1990", "September, 1990"),
    "ambiguous date as written": ("03/04/2021", "03/04/2021."),
    "letter in brackets": ("(B)", "B"),
    "letter and option": ("Option B: Paris", "b"),
    "letter in a sentence": ("The correct answer is (C).", "C"),
    "yes": ("Yes, it does.", "yes"),
    "true": ("True", "Yes."),
    "JSON keys": ('{"a": "X", "b": [1]}', '{ "b":[1.0], "a":"x." }'),
    "JSON in a block": (f'{BT}json\n{{"a": 1}}\n{BT}', '{"a":1}'),
    "Python layout": ("x = [1,2]  # two\nprint( x )", "x=[1, 2]\n\nprint(x)"),
    "Python in a block": (
        f'Here it is:\n{BT}python\ndef f(a):\n    """Add."""\n    return a+1\n{BT}\nIt adds one.',
        "def f(a):\n  return (a + 1)",
    ),
    "SQL": ("SELECT a,b FROM t -- all", f"{BT}sql\nselect a, b\nfrom T\n{BT}"),
    "JavaScript": (f"{BT}js\nf(a);  // go\n{BT}", f"{BT}javascript\nf( a );\n{BT}"),
    "words": ("The  Eiffel tower.", "eiffel TOWER"),
    "accents": ("caf\u00e9", "cafe\u0301"),
    "list item": ("- 5 apples", "5 apples"),
    "thousand": ("10k", "10,000"),
    "thousand, glued": ("10K", "10000"),
    "million": ("$5M", "$5 million"),
    "US dollars": ("US$5", "$5"),
    "compound number": ("twenty-five", "25"),
    "tuple": ("(1,2)", "(1, 2)"),
    "calls of a program": (f'{BT}java\nf( "a b" );\n{BT}', f'{BT}java\nf("a b");\n{BT}'),
    "Chinese": ("\u56e0\u6b64\n\u7b54\u6848\uff1a18", "18"),
    "Chinese, last line": ("\u6240\u4ee5\u7b54\u6848\u662f18\u3002", "18\u3002"),
    "Spanish": ("9 * 2 = 18\nLa respuesta es 18.", "18"),
    "French": ("R\u00e9ponse : 18", "18"),
    "German": ("Die Antwort ist: 18", "18"),
    "ways to a number": ("Let us add: 9 * 2 = 18\nA: 18", "#### 18"),
}

DIFFERENT = {
    "digits": ("18", "81"),
    "sign": ("-5", "5"),
    "sign in words": ("It is -5 outside", "It is 5 outside"),
    "only a sign": ("+", "-"),
    "decimal point": ("1.5", "15"),
    "wrong thousands": ("1,56", "156"),
    "unit": ("5 km", "5 m"),
    "case of a symbol": ("5 mW", "5 MW"),
    "currency": ("$5", "€5"),
    "currency in a sentence": ("It costs $5 now", "It costs €5 now"),
    "per cent is no half": ("50", "0.5"),
    "per mille": ("50%", "0.05"),
    "one third": ("1/3", "0.33"),
    "what is counted": ("3 apples", "3 pears"),
    "a name": ("007", "7"),
    "a name with a number": ("7 Eleven", "7"),
    "day": ("3 May 2021", "4 May 2021"),
    "year left out": ("3 May", "3 May 2021"),
    "ambiguous date": ("03/04/2021", "2021-04-03"),
    "no date": ("30 February 2021", "2 March 2021"),
    "letter": ("(A)", "B"),
    "same letter, other option": ("B) Paris", "B) Rome"),
    "yes and no": ("Yes, it does.", "No."),
    "both yes, other facts": ("Yes, in 1990", "Yes, in 1995"),
    "JSON value": ('{"answer": "x"}', '{"answer": "y"}'),
    "JSON type": ('{"answer": 1}', '{"answer": true}'),
    "JSON string": ('{"answer": 1}', '{"answer": "1"}'),
    "JSON list order": ("[1, 2]", "[2, 1]"),
    "JSON key": ('{"a": 1}', '{"a": 1, "b": null}'),
    "Python operator": ("print(a+b)", "print(a-b)"),
    "Python string": ("print('a b')", "print('a  b')"),
    "tokens run together": (f"{BT}c\nint x;\n{BT}", f"{BT}c\nintx;\n{BT}"),
    "line end": (f"{BT}js\nreturn\nx\n{BT}", f"{BT}js\nreturn x\n{BT}"),
    "preprocessor": (f"{BT}c\n#define A 1\n{BT}", f"{BT}c\n#define A 2\n{BT}"),
    "language": (f"{BT}c\nf(x);\n{BT}", f"{BT}java\nf(x); g();\n{BT}"),
    "Java string": (f'{BT}java\ns.split(" ");\n{BT}', f'{BT}java\ns.split("");\n{BT}'),
    "end of a C string": (f'{BT}c\nf("a b");\n{BT}', f'{BT}c\nf("a b ");\n{BT}'),
    "JavaScript template": (
        f"{BT}js\nf(`${{a}} ${{b}}`);\n{BT}",
        f"{BT}js\nf(`${{a}}${{b}}`);\n{BT}",
    ),
    "vowels of Hindi": ("\u0926\u093f\u0928", "\u0926\u093e\u0928"),
    "vowels of Thai": ("\u0e01\u0e34\u0e19", "\u0e01\u0e31\u0e19"),
    "root": ("\u221a2", "2"),
    "quantifiers": ("\u2200x P(x)", "\u2203x P(x)"),
    "sets": ("A \u222a B", "A \u2229 B"),
    "logic": ("p \u2227 q", "p \u2228 q"),
    "negation": ("\u00acp", "p"),
    "index and difference": ("x-1", "x1"),
    "JSON with a formula": ('{"a": "x-1"}', '{"a": "x1"}'),
    "absolute value": ("|x|", "x"),
    "derivative": ("f'(x)", "f(x)"),
    "bits": ("x & y", "x | y"),
    "factorial": ("5!", "5"),
    "a letter as a name": ("Vitamin A", "Vitamin"),
    "pi": ("2\u03c0", "2"),
    "pi in LaTeX": ("2\\pi", "2"),
    "variable": ("3x", "3"),
    "imaginary": ("5i", "5"),
    "scale left out": ("10k", "10"),
    "quiz": ("A: Paris\nB: Rome\nC: Berlin", "A: Paris\nB: London\nC: Madrid"),
    "dialogue": ("A: Hi.\nB: Hello.\nA: Bye.", "A: Stop!\nB: Why?\nA: Bye."),
    "program with its output": (f"{BT}python\nf(1)\n{BT}\nOutput:\n[1, 2, 3]", "[1, 2, 3]"),
    "references": ("It is so [1].\n\n[1]", "It is not so [1].\n\n[1]"),
    "names of languages": ("C++", "C"),
    "operators": ("x > 5", "x < 5"),
    "no number": ("1/0", "0"),
    "long numbers in words": (
        "30! is 265252859812191058636308480000000 in full",
        "30! is 265252859812191058636308480000001 in full",
    ),
}


@pytest.mark.parametrize(("first", "second"), SAME.values(), ids=SAME)
def test_answers_that_say_the_same_match(first: str, second: str) -> None:
    """In both orders."""
    assert exact_match(first, second)
    assert exact_match(second, first)


@pytest.mark.parametrize(("first", "second"), DIFFERENT.values(), ids=DIFFERENT)
def test_answers_that_differ_do_not_match(first: str, second: str) -> None:
    """Signs, units, values and types count, in both orders."""
    assert not exact_match(first, second)
    assert not exact_match(second, first)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "(" * 5_000 + ")",
        "-" * 5_000 + "1",
        '{"a": ' + "9" * 5000 + "}",
        '{"a": NaN}',
        "{not json}",
        "1e999",
        "print('\\d')",
        "x\0 = 1",
        BT + "js\n" + "/*" * 3000,
    ],
)
def test_hostile_text_is_compared_as_text(text: str) -> None:
    """Nesting bombs, numbers without end and broken code raise nothing."""
    assert same_answer(text, text + " ")
    assert not same_answer(text, "0")


@pytest.mark.parametrize(
    ("answer", "value"),
    [("18", True), ("$1,560.00", True), ("3 May 2021", True), ("(B)", True), ("Yes", True),
     ('{"a": 1}', True), ("Paris", False), ("18 of them, or so", False), ("x = 1", False),
     ("", False)],
)  # fmt: skip
def test_what_is_a_value(answer: str, *, value: bool) -> None:
    """Numbers, dates, choices and JSON; neither words nor code."""
    assert is_value(answer) is value


def test_code_and_keys_are_no_answers() -> None:
    """A first line that looks like "A: 1" does not stand for what follows it."""
    assert not exact_match("a = 1\nprint(a + 1)", "a = 1\nprint(a - 1)")
    assert not exact_match("a: 1\nb: 2", "a: 1\nb: 3")
    assert exact_match("so 9 * 2 = 18\nA: 18", "**Answer:** 18")
