"""The functions that a Globus Compute endpoint runs; ``docs/globus.md``.

Each is sent there by its source or its code alone, so it imports inside itself all that it needs, and has no
annotations: they would be evaluated where it arrives, without the imports of this module.
What it does stands in :mod:`braid_hpc.remote.steps`, of the package that is installed where it runs.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "FUNCTIONS",
    "add_invalidation_action_to_record",
    "add_record_for_action_step",
    "add_records",
    "add_transfer_request",
    "create_invalidation_action",
]


def add_record_for_action_step(  # type: ignore[no-untyped-def]
    step_name=None,
    tags=None,
    step_result=None,
    previous_step_output=None,
    other_predecessor_record_ids=None,
    input_record_ids=None,
    inputs_from_referenced_outputs=False,
    output_record_ids=None,
    outputs_from_referenced_inputs=False,
    input_record_defs=None,
    output_record_defs=None,
    uris=None,
):
    """Record a step of a flow; see :func:`braid_hpc.remote.steps.record_step`."""
    from braid_hpc.remote.steps import record_step

    return record_step(
        step_name,
        tags=tags,
        step_result=step_result,
        previous_step_output=previous_step_output,
        other_predecessor_record_ids=other_predecessor_record_ids,
        input_record_ids=input_record_ids,
        inputs_from_referenced_outputs=inputs_from_referenced_outputs,
        output_record_ids=output_record_ids,
        outputs_from_referenced_inputs=outputs_from_referenced_inputs,
        input_record_defs=input_record_defs,
        output_record_defs=output_record_defs,
        uris=uris,
    )


def add_transfer_request(previous_step_record_id=None, transfer_input=None, transfer_result=None):  # type: ignore[no-untyped-def]
    """Record a transfer; see :func:`braid_hpc.remote.steps.record_transfer`."""
    from braid_hpc.remote.steps import record_transfer

    return record_transfer(previous_step_record_id, transfer_input=transfer_input, transfer_result=transfer_result)


def create_invalidation_action(name="Not Provided", action_type="shell", command=None, params=None):  # type: ignore[no-untyped-def]
    """Describe an action; see :func:`braid_hpc.remote.steps.record_action`."""
    from braid_hpc.remote.steps import record_action

    return record_action(name, action_type=action_type, command=command, params=params)


def add_invalidation_action_to_record(record_id=None, invalidation_action_id=None):  # type: ignore[no-untyped-def]
    """Attach an action to a record; see :func:`braid_hpc.remote.steps.attach_action`."""
    from braid_hpc.remote.steps import attach_action

    return attach_action(record_id, invalidation_action_id)


def add_records(record_dicts=None, *args):  # type: ignore[no-untyped-def]
    """Record records and what came of them; see :func:`braid_hpc.remote.steps.record_all`."""
    from braid_hpc.remote.steps import record_all

    return record_all(record_dicts, *args)


#: All of them, by name.
FUNCTIONS: dict[str, Any] = {
    function.__name__: function
    for function in (
        add_record_for_action_step,
        add_transfer_request,
        create_invalidation_action,
        add_invalidation_action_to_record,
        add_records,
    )
}
