"""The type checker of the test run: beartype, with ints accepted where floats are wanted."""

from beartype import BeartypeConf, beartype

typechecked = beartype(conf=BeartypeConf(is_pep484_tower=True))
