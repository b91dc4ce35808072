"""`specdecode explain`: why it is as it is, rule by rule."""

from specdecode.cli.cluster.client import Cluster, asked, name_of
from specdecode.cli.cluster.explanation import document, explanation_of, sheet
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
from specdecode.cli.cluster.subject import Subject


def explain(
    name: NameArgument,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Why it is as it is: the last decision rule by rule, the conditions, and what would change it."""

    async def ask(found: Cluster) -> Subject:
        return Subject(await found.one(name_of(name)), utc_now(), caller_of(context, kubeconfig))

    subject = asked(access_of(namespace, context, kubeconfig), ask)
    found = explanation_of(subject)
    if output is Output.TABLE:
        show(sheet(found, subject.now))
    else:
        show_document(document(found), output)
