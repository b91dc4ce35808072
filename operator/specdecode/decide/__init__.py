"""The judgement: facts in, decision out. Pure."""
