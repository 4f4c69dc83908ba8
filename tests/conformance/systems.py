"""Write docs/systems.md from the list below: ``python -m tests.conformance.systems [--check]``.

sel4py has parts that are built after L4, Mach, RefOS, Genode, KeyKOS, MINIX 3, QNX, EROS and Viengoos. Each has an id
and a check; here stands which tests show it, and what is not shown. A test that is named here and does not exist is an
error.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.page import keep

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "systems.md"

HEAD = """# Other systems' semantics

Parts of sel4py are built after other systems. This page says which test shows each check, and what is not shown.
Made by `make docs` from `tests/conformance/systems.py`, which fails where a test that it names does not exist.
"""


@dataclass(frozen=True)
class Check:
    """``tests`` are files below tests/, each with names of its functions. ``missing``: what is not so, or not shown."""

    id: str
    system: str
    what: str
    tests: dict[str, tuple[str, ...]]
    missing: str = ""


CHECKS = (
    Check(
        "L4-07",
        "L4",
        "map, grant, unmap and flush: rights only shrink; unmap(w) leaves reading; flush takes the page from all "
        "behind; what was granted is still reached by the root",
        {
            "unit/sdk/test_flexpages.py": (
                "test_unmapping_write_takes_it_from_all_behind_and_leaves_reading",
                "test_flush_takes_the_page_from_the_space_itself_as_well",
                "test_what_was_granted_is_still_reached_by_the_root",
                "test_rights_only_shrink_on_the_way",
                "test_the_hot_spot_chooses_where_sizes_differ",
            ),
            "system/test_mapper.py": ("test_pages_are_mapped_on_and_taken_back",),
        },
        "mappings do not travel in messages: the mapper is asked, and the receiver has said before what it takes",
    ),
    Check(
        "L4-08",
        "L4",
        "sigma0 hands out each page once; another task's request for it is refused; all grants together are its memory",
        {
            "unit/servers/test_sigma0.py": (
                "test_a_page_is_served_to_one_requester_and_to_that_again",
                "test_all_pages_together_are_the_pool",
                "test_its_label_is_l4s",
            ),
            "system/test_sigma0.py": ("test_each_page_is_handed_out_once_and_is_memory",),
        },
        "sigma0 owns its pool, and not all RAM: what is not given to it is root's",
    ),
    Check(
        "L4-09",
        "L4",
        "a page fault is a message to the pager, whose answer lets the thread go on; three pagers deep; an answer "
        "without a mapping lets it fault again (scenes `stacked`, `nil`)",
        {"system/test_paging.py": ("test_memory_is_paged",)},
        "label and words are seL4's VM_FAULT, and not L4's",
    ),
    Check(
        "MACH-09",
        "Mach",
        "memory out of line: moved, and the sender's accesses fault; otherwise copied on write, and a write after the "
        "send is not seen by the receiver",
        {
            "system/test_windows.py": ("test_MACH09_memory_is_sent_out_of_line",),
            "unit/sdk/test_pager.py": (
                "test_MACH09_a_region_that_is_moved_is_gone_where_it_was_and_no_byte_is_copied",
            ),
        },
        "a message brings the parcel's number, and the receiver takes it of the pager that both have; whole windows "
        "alone; no arrays of port rights",
    ),
    Check(
        "MACH-11",
        "Mach",
        "dead-name notification: asked for once, told once, of each end of an object or process; the name is kept from "
        "being used again by its holder's capability slot, which nobody else fills",
        {
            "conformance/test_death_notice.py": (
                "test_DEATHNOTICE0001_every_object",
                "test_DEATHNOTICE0003_process",
                "test_DEATHNOTICE0012_many",
            ),
            "unit/sdk/test_deaths.py": ("test_a_server_is_called_once_and_the_notice_is_given_back",),
        },
        "there are no counts of references to a name: a slot is one, and is empty behind the end",
    ),
    Check(
        "MACH-12",
        "Mach",
        "no-senders notification: a server is told when the last capability derived from one is gone, also with a "
        "client that is killed, and of how many were handed out; one that is handed out meanwhile suppresses it",
        {
            "conformance/test_death_notice.py": (
                "test_DEATHNOTICE0017_no_copies",
                "test_DEATHNOTICE0018_other_badges",
                "test_DEATHNOTICE0019_a_new_copy_suppresses_it",
                "test_DEATHNOTICE0020_a_client_dies",
                "test_DEATHNOTICE0022_cancel_and_more_than_one",
            ),
            "unit/sdk/test_senders.py": (
                "test_MACH12_the_last_senders_end_is_told_with_how_many_were_made",
                "test_MACH12_one_that_is_handed_out_meanwhile_suppresses_it",
            ),
            "system/test_senders.py": (
                "test_MACH12_a_client_that_is_killed_is_the_last_sender",
                "test_MACH12_one_that_was_given_on_holds_it_off",
                "test_MACH12_a_kernel_that_is_killed_meanwhile_tells_all_the_same",
            ),
        },
        "the make-send count is kept by the SDK, and no value of it is waited for: a server that hands out in several "
        "threads, or later than it answers, can be told while a copy is on its way",
    ),
    Check(
        "MACH-13",
        "Mach",
        "receive-right rescue: the endpoint of a server that is killed stays, with its queue, and goes to its next "
        "life; who waits there is answered by that, and holds what it held",
        {
            "system/test_server_restart.py": (
                "test_a_server_killed_from_outside_comes_back_to_clients_that_wait_for_it",
                "test_whatever_is_killed_in_turn_the_shell_stays_usable",
            ),
        },
        "the right is root's all the time, so nothing is sent to it; none of the other notifications",
    ),
    Check(
        "MACH-14",
        "Mach",
        "external pagers: data_request, data_supply, data_return, data_unlock, lock_request, terminate; a file "
        "system's files are paged, two mappers see the same bytes; who waits for a pager that dies goes on with what "
        "its object has, or has a memory error, or ends with the reason; change_attributes: pages of an object that "
        "may be cached stay, copies are made at once or late; a default pager takes over what no object takes back",
        {
            "unit/sdk/test_memory_objects.py": ("test_it_conforms",),
            "unit/sdk/test_object_attributes.py": (
                "test_MACH14_pages_of_an_object_that_may_be_cached_stay_while_nobody_looks",
                "test_MACH14_what_may_change_by_itself_is_copied_at_once",
                "test_MACH14_nobody_wants_what_is_temporary_when_it_ends",
            ),
            "unit/sdk/test_default_pager.py": (
                "test_MACH14_what_an_object_does_not_take_back_stays_and_is_offered_again",
                "test_MACH14_frames_that_the_dead_task_has_taken_along_are_a_memory_error",
                "test_MACH14_what_the_object_had_left_to_the_pager_outlives_it",
            ),
            "unit/sdk/test_remote_objects.py": ("test_pages_of_another_tasks_file_are_mapped_and_written_back",),
            "unit/sdk/test_pager.py": ("test_flushing_takes_the_page_from_all_who_map_it",),
            "system/test_paging.py": ("test_memory_is_paged",),
            "system/test_mapped_files.py": ("test_files_in_memory_are_mapped", "test_files_of_a_disk_are_mapped"),
            "system/test_pager_dies.py": (
                "test_eight_threads_go_on_with_what_an_object_of_another_task_has",
                "test_a_pager_that_does_not_come_back_is_its_tasks_end",
                "test_guarded_accesses_fail_where_nobody_brings_the_memory",
            ),
        },
        "lock_request is fetched by the pager, and not sent to it; the copy strategy CALL; the default pager keeps in "
        "memory what it takes over, and on no disk",
    ),
    Check(
        "REF-01",
        "RefOS",
        "a data space is a capability, used in place by whoever has it; memory, files, a console, a timer and a serial "
        "line are opened, read, written, sized and mapped by one set of operations, each has what it can have, and all "
        "else is refused alike; memory whose first contents are a file's",
        {
            "system/test_data_spaces.py": (
                "test_REF01_memory_files_timer_and_serial_line_are_opened_read_written_and_mapped_by_the_same_operations",
                "test_REF01_a_console_is_opened_read_and_written_by_the_same_operations",
            ),
            "system/test_dataspace.py": ("test_memory_is_lent",),
            "unit/sdk/test_memory_objects.py": ("test_it_conforms",),
            "system/test_mapped_files.py": ("test_files_in_memory_are_mapped",),
        },
        "have_data, unhave_data and provide_data are one read of the source, page by page; a data space is mapped by "
        "who has it, who hands the window its memory object",
    ),
    Check(
        "REF-02",
        "RefOS",
        "memory windows are capabilities: create, get, resize, delete; resize unmaps the tail; a fault outside of all "
        "windows is the process's",
        {
            "system/test_windows.py": (
                "test_REF02_a_task_lays_out_its_memory_by_windows",
                "test_REF02_an_access_outside_of_all_windows_is_the_processs_fault",
            ),
            "unit/sdk/test_pager.py": (
                "test_REF02_a_smaller_region_loses_its_tail_and_has_the_bytes_again_when_it_grows",
            ),
        },
        "windows lie within the `paged` memory of a description",
    ),
    Check(
        "REF-03",
        "RefOS",
        "delegated paging: another task's object supplies a client's pages (scene `shown`); where it is gone the "
        "access fails",
        {
            "system/test_windows.py": ("test_REF02_a_task_lays_out_its_memory_by_windows",),
            "unit/sdk/test_pager.py": ("test_an_object_that_fails_or_answers_nonsense_fails_who_touched_it",),
            "system/test_mapped_files.py": (
                "test_who_waits_for_a_page_when_the_file_system_is_killed_has_a_memory_error",
            ),
        },
        "the object is called for each page, and no ring of notifications is used",
    ),
    Check(
        "GEN-05",
        "Genode",
        "quota: a session is opened by memory that is donated, refused where that is too little, upgraded, and the "
        "request repeated; all comes back when it is closed, and when a client is killed; a hostile client exhausts "
        "its own; the sum stays RAM's size; slots are donated as well, as tables of that memory, by the same rules",
        {
            "unit/sdk/test_sessions.py": (
                "test_GEN05_a_request_that_fails_for_want_of_quota_is_repeated_with_more_and_all_comes_back",
                "test_GEN05_a_client_has_no_more_than_it_will_give_and_the_server_takes_only_so_many_parts",
                "test_GEN05_a_part_that_is_taken_back_ends_the_session_and_the_server_lets_go_of_all",
                "test_GEN05_what_is_no_plain_memory_upgrades_nothing",
            ),
            "unit/sdk/test_session_slots.py": (
                "test_GEN05_what_is_kept_takes_slots_of_the_clients_and_none_of_the_servers",
                "test_GEN05_a_client_that_keeps_without_end_exhausts_its_own_slots",
                "test_GEN05_slots_that_the_pool_has_no_room_for_are_refused_and_the_pool_comes_back_whole",
                "test_GEN05_slots_are_upgraded_and_the_request_repeated",
            ),
            "system/test_resource_pools.py": (
                "test_GEN05_a_sessions_quota_is_upgraded_and_comes_back_from_clients_that_are_killed",
                "test_GEN05_slots_that_clients_pay_are_exhausted_by_them_alone_and_come_back_when_they_are_killed",
                "test_a_flood_exhausts_its_own_memory_and_others_go_on",
            ),
            "system/test_accounting.py": ("test_any_sequence_adds_up_and_comes_back",),
        },
        "slots that a server needs itself (pool, notice, one for each table) are bounded by `Sessions`, and not paid",
    ),
    Check(
        "KK-04",
        "KeyKOS",
        "space banks: sub-banks with limits of their own; a destroyed bank rescinds what it has sold, also that of a "
        "killed task; at the limit the keeper is asked, and lends or refuses",
        {
            "unit/sdk/test_banks.py": (
                "test_KK04_a_bank_sells_what_it_has_and_no_more",
                "test_KK04_a_destroyed_bank_rescinds_what_it_and_its_sub_banks_have_sold",
                "test_KK04_a_sub_bank_that_is_destroyed_gives_its_memory_to_the_bank_above",
                "test_KK04_at_the_limit_the_keeper_lends_and_the_purchase_goes_on_or_it_refuses",
                "test_KK04_what_the_keeper_takes_back_is_gone_and_the_bank_goes_on",
                "test_KK04_a_bank_whose_memory_was_taken_back_is_destroyed",
            ),
            "system/test_resource_pools.py": (
                "test_KK04_the_keeper_is_asked_at_a_banks_limit_and_nothing_is_left_of_a_killed_buyer",
            ),
        },
        "a task's own pool (`Task.memory`) has no keeper: what is to be extended is bought of a bank",
    ),
    Check(
        "KK-05",
        "KeyKOS",
        "keys to draw and keys to refill are apart: who buys of memory that was lent can neither add to it nor keep it "
        "from its lender; who has a scheduling context cannot give it a budget without SchedControl",
        {
            "unit/sdk/test_banks.py": (
                "test_KK05_who_draws_can_neither_refill_nor_keep_the_memory",
                "test_KK05_a_budget_is_given_by_sched_control_alone",
            ),
        },
    ),
    Check(
        "KK-06",
        "KeyKOS",
        "a packet of memory goes four servers deep, each with a part; destroyed in the middle of a request it leaves "
        "nothing, and all four go on",
        {
            "system/test_resource_pools.py": ("test_four_servers_work_on_one_packet",),
            "unit/sdk/test_sessions.py": (
                "test_a_chain_of_four_servers_is_paid_by_the_packet",
                "test_a_packet_destroyed_in_the_middle_frees_every_servers_state",
            ),
        },
        "the packet is memory alone, without a meter: processor time is donated by the call",
    ),
    Check(
        "MNX-01",
        "MINIX 3",
        "reincarnation server ops: up, down, restart, update (led back where it does not come up), shutdown, and what "
        "is known of each task",
        {
            "system/test_reincarnation.py": ("test_orders_stop_start_and_begin_anew",),
            "system/test_versions.py": (
                "test_clients_see_latency_alone",
                "test_a_version_that_does_not_come_up_is_followed_by_the_former_one",
                "test_no_image_is_loaded_that_the_description_does_not_permit",
            ),
        },
        "CLONE is `standby`, FI is `sel4py chaos`, and EDIT has no counterpart: policies are the description's. "
        "Updates are ordered by tasks (the shell), and by no command outside",
    ),
    Check(
        "MNX-02",
        "MINIX 3",
        "crash detection, each within a bounded time: an exit, SIGKILL, an access to no memory, a fault of a call, "
        "SIGSTOP and an endless loop (heartbeats), a complaint, also of an answer that does not decode, and an order",
        {
            "system/test_reincarnation.py": (
                "test_each_way_to_end_is_noticed_and_followed_by_a_new_life",
                "test_a_signal_of_the_hosts_is_an_end_too",
                "test_orders_stop_start_and_begin_anew",
            ),
            "system/test_complaints.py": (
                "test_the_sdk_complains_of_an_answer_that_does_not_decode",
                "test_a_late_complaint_does_not_hit_the_successor",
            ),
        },
        "a server that never comes to serve is found by its first heartbeat, for which its description gives it time",
    ),
    Check(
        "MNX-03",
        "MINIX 3",
        "restart policy: at once, then behind 2, 4, 8, 16, 30 and 30 s; what cannot live is given up; one that is "
        "never started again; the end of an essential task is the system's",
        {
            "unit/servers/test_reincarnation_policy.py": (
                "test_delays_are_minixs",
                "test_a_long_life_is_no_failure_to_start",
                "test_a_group_that_fails_too_often_is_given_up",
                "test_one_that_is_never_started_again_ends_with_its_group_and_is_left",
                "test_the_end_of_an_essential_task_is_the_systems",
            ),
            "system/test_reincarnation.py": ("test_what_cannot_live_is_given_up",),
        },
        "one that dies before it serves is started again as any other, and given up by its group's intensity",
    ),
    Check(
        "MNX-04",
        "MINIX 3",
        "recovery scripts: a task is told of each end in its group (component, event, reason), and has the server "
        "started, left, or its group begin anew; one that hangs or dies is not waited for; dependents start in order",
        {
            "system/test_recovery.py": (
                "test_a_task_has_a_server_started_at_once_that_its_policy_would_keep_away",
                "test_a_task_has_a_server_stay_down_and_its_clients_told",
                "test_a_task_has_a_whole_group_begin_anew",
                "test_one_that_hangs_or_dies_of_a_case_is_not_waited_for",
            ),
            "unit/servers/test_reincarnation_policy.py": (
                "test_each_event_has_its_name",
                "test_a_restart_waits_for_what_the_task_depends_on",
            ),
        },
        "a task, and no shell script",
    ),
    Check(
        "MNX-05",
        "MINIX 3",
        "stop protocol: a server is asked to stop, and ended behind 2 s",
        {
            "unit/servers/test_reincarnation_policy.py": (
                "test_stop_asks_then_ends_and_nothing_starts_it_but_an_order",
                "test_one_that_stops_by_itself_is_cleared_away_and_no_failure",
            ),
            "unit/servers/test_lifecycle.py": (
                "test_asking_to_stop_signals_the_task_and_leaves_nothing_in_roots_cspace",
            ),
        },
    ),
    Check(
        "MNX-07",
        "MINIX 3",
        "data store: publish, retrieve, delete, subscribe, what changed; private names; a name is its publisher's; "
        "subscriptions outlive the store's death",
        {
            "unit/servers/test_datastore.py": (
                "test_a_value_is_there_for_all_also_in_the_next_life",
                "test_a_name_is_its_publishers",
                "test_what_is_private_nobody_else_sees",
                "test_subscribers_are_signalled_and_told_what_begins_so",
                "test_subscriptions_outlive_the_store_which_signals_what_it_could_not",
                "test_values_and_capabilities_are_asked_for_as_what_they_are",
            ),
            "system/test_server_restart.py": (
                "test_what_stands_on_a_file_system_or_the_network_goes_on_with_its_next_life",
            ),
        },
        "subscriptions are by a name's beginning, and no regular expression; values are bytes and capabilities. A file "
        "system needs no event of its driver's: its endpoint is the same",
    ),
    Check(
        "MNX-08",
        "MINIX 3",
        "state for a restart: what a server has counted is there, once, whenever it is killed",
        {"system/test_exactly_once.py": ("test_what_was_counted_is_there_once_whenever_the_server_is_killed",)},
        "kept in data spaces that outlive the process, and in no data store",
    ),
    Check(
        "QNX-10",
        "QNX",
        "high-availability manager: ends, missed heartbeats and complaints are its conditions, restart, order and "
        "recovery by a task its actions; killed itself, or hung, it is started again by root, finds all that it had "
        "to do, and goes on to restart servers; what depends on another task is started behind it",
        {
            "system/test_reincarnation.py": (
                "test_each_way_to_end_is_noticed_and_followed_by_a_new_life",
                "test_a_supervisor_that_hangs_keeps_nobody_away",
                "test_the_reincarnation_server_is_killed_again_and_again_while_others_are",
            ),
            "system/test_recovery.py": ("test_a_supervisor_that_dies_keeps_nobody_away",),
            "unit/servers/test_lifecycle.py": ("test_root_takes_over_when_it_ends_again_and_again",),
            "unit/servers/test_reincarnation_policy.py": ("test_a_restart_waits_for_what_the_task_depends_on",),
        },
        "the guardian is root, and no clone: it keeps what must not be lost, and supervises by a simple rule if the "
        "manager cannot live; one missed heartbeat is no condition of its own; waitfor is `depends` and a call that "
        "waits, and no path is waited for",
    ),
    Check(
        "ERO-06",
        "EROS",
        "a server is replaced behind what its clients hold: held, they wait; another image is started, and they see "
        "latency alone; one that does not come up is led back",
        {
            "system/test_versions.py": (
                "test_clients_see_latency_alone",
                "test_a_server_is_held_its_image_replaced_and_let_go",
                "test_a_version_that_does_not_come_up_is_followed_by_the_former_one",
            ),
        },
        "the endpoint stands for the forwarder: its target is the task that receives there; it has no data of its own",
    ),
    Check(
        "VIE-09",
        "Viengoos",
        "whoever asks is told that an object was destroyed, of any type with memory of its own",
        {"conformance/test_death_notice.py": ("test_DEATHNOTICE0001_every_object",)},
        "untyped memory, of which each capability ends by itself: a notice that is made of it watches itself",
    ),
    Check(
        "VIE-02",
        "Viengoos",
        "the request's activity is what servers work on, four calls deep, and their own memory stays as it is; it is "
        "passed on weakly, and who has it so changes no policy; its end takes all that was made under it, and all "
        "servers go on; so it is with a pool of memory",
        {
            "system/test_resource_pools.py": (
                "test_VIE02_an_activity_pays_for_a_request_four_calls_deep_and_its_end_takes_all",
                "test_four_servers_work_on_one_packet",
            ),
            "unit/sdk/test_sessions.py": ("test_a_packet_destroyed_in_the_middle_frees_every_servers_state",),
        },
        "activities are a server's, and named in requests alone, not in every system call; priorities and weights",
    ),
)


def ensure_tests() -> None:
    """Raises SystemExit if a test does not exist."""
    for check in CHECKS:
        for file, names in check.tests.items():
            tree = ast.parse((TESTS / file).read_text())
            there = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
            if missing := set(names) - there:
                raise SystemExit(f"{check.id}: tests/{file} has no {', '.join(sorted(missing))}")


def page() -> str:
    """The whole page."""
    parts = [HEAD, "\n| id | after | what is shown | by | what is not |\n| --- | --- | --- | --- | --- |\n"]
    for check in CHECKS:
        tests = "<br>".join(
            f"`{file}`: {', '.join(f'`{name}`' for name in each)}" for file, each in check.tests.items()
        )
        parts.append(f"| {check.id} | {check.system} | {check.what} | {tests} | {check.missing} |\n")
    return "".join(parts)


def main() -> int:
    ensure_tests()
    return keep(PAGE, page(), f"{len(CHECKS)} checks")


if __name__ == "__main__":
    sys.exit(main())
