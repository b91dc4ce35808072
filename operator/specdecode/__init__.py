"""The operator that makes speculative decoding in vLLM safe to leave on.

The data flows one way, one package a stage:

    api -> engine -> plan -> manifests -> observe -> decide -> act -> status

`api`, `engine`, `plan`, `manifests`, `decide` and `status` are pure: values in, values out. They import no client,
read no clock and no environment. `reconcile` tells the whole story in a few lines, `loop` runs it for all objects.
"""
