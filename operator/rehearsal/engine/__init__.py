"""A simulated vLLM 0.32.0: the real command line, HTTP endpoints and metrics, around arithmetic instead of a GPU.

It is a program, `python -m rehearsal.engine <vllm serve arguments>`, and knows nothing of the rehearsal around it but
two environment variables, so that the argument list stays the one that a real engine would get:

* `REHEARSAL_POD_IP`: the address to listen on, whatever `--host` says;
* `REHEARSAL_BEHAVIOUR`: a JSON file that says how well the draft does and how long steps take.

Flow: arguments -> speculation, cache; behaviour -> model; requests -> batch -> metrics; server shows the last two.
"""
