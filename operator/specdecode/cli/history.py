"""`specdecode history`: the decisions of the past, newest first."""

from specdecode.cli.cluster.client import Cluster, asked, name_of
from specdecode.cli.cluster.options import (
    ContextOption,
    KubeconfigOption,
    NameArgument,
    NamespaceOption,
    Output,
    OutputOption,
    access_of,
    caller_of,
    show,
    show_document,
    utc_now,
)
from specdecode.cli.cluster.past import document, past_of, table
from specdecode.cli.cluster.subject import Subject


def history(
    name: NameArgument,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Decisions newest first: when, from which mode to which, why, and whether it helped. The last ten are kept."""

    async def ask(found: Cluster) -> Subject:
        return Subject(await found.one(name_of(name)), utc_now(), caller_of(context, kubeconfig))

    subject = asked(access_of(namespace, context, kubeconfig), ask)
    past = past_of(subject)
    if output is Output.TABLE:
        show(table(past, subject.now))
    else:
        show_document(document(past), output)
