"""The real vLLM, without a GPU: an environment of its own, its parser and config classes, and a small engine on CPU.

It runs beside the operator's environment, never in it: vLLM pins other versions of shared libraries. Whatever imports
vLLM or torch is a script (`answers`, `tiny_models`) that the environment's own Python runs.
"""
