//! Sentences that ask something of the store, the worker, the simulator's world or the command line: each with the test
//! that holds us to it there. A sentence whose test is renamed or taken away shows here.

use std::path::Path;

/// The sentence, the file of its test, the test.
type Case = (&'static str, &'static str, &'static str);

const STORE: &str = "crates/store/tests/store";
const VIEWS: &str = "crates/store/tests/views";
const WORKER: &str = "crates/worker/tests/worker";
const FLOW: &str = "tests/it";
const CLI: &str = "crates/cli/tests/cli";
const MODEL: &str = "crates/core/tests/model";

#[rustfmt::skip] // a sentence and its test are read in one line
const CASES: &[(&str, &[Case])] = &[
    ("Precedence and ties", &[
        ("`record explain` and the console show it.", VIEWS, "questions::an_explanation_shows_the_chain_of_groups_and_everything_that_keeps_a_person_m10"),
        ("`record explain` and the console show it.", CLI, "planning::m12_the_full_plan_is_a_table_json_and_csv"),
        ("No rule = no access.", FLOW, "flow::whoever_leaves_the_last_group_is_out_after_the_second_read"),
        ("The root user is exempt", CLI, "by_hand::g_24_root_is_marked_by_id_on_the_host_and_touched_by_nobody"),
        ("A mapped or nested group whose membership is hidden and may not be read is refused in a rule", CLI, "connecting::a_rule_whose_group_is_missing_or_hidden_is_refused_by_its_id"),
        ("and never counts as absence.", WORKER, "evidence::g10_a_group_that_hides_its_members_takes_nobody_out"),
    ]),
    ("Matching", &[
        ("normalised primary e-mail (trim, lower-case, stored as its own key column with a unique index, compared only there).", STORE, "apply::m3_an_imported_record_is_linked_and_keeps_its_id"),
        ("Graph itself is asked who else has that address", WORKER, "matching::th09_an_address_that_two_people_have_is_asked_about"),
        ("nothing is written for this person's identity and everybody else goes on.", WORKER, "matching::five_hundred_existing_people_keep_their_ids_when_three_hundred_are_in_entra"),
        ("Who owns an address is judged by the current snapshots: a swap or a cycle among people of one connection is applied in one transaction.", STORE, "apply::three_people_pass_their_addresses_round"),
        ("Who owns an address is judged by the current snapshots: a swap or a cycle among people of one connection is applied in one transaction.", WORKER, "addresses::people_who_swap_their_addresses_are_brought_in_line_however_late_the_second_hint_comes"),
        ("If somebody else really owns the new address: keep the old one, open a review, apply all the rest.", WORKER, "addresses::whoever_really_keeps_an_address_has_it_and_all_the_rest_is_applied"),
        ("*Two directory users, one address*: the first linked stays linked, the second goes to review.", STORE, "apply::bi_36_of_two_new_people_with_one_address_the_second_waits_and_then_becomes_a_question"),
        ("Never two onto one record.", MODEL, "answers::two_people_who_are_there_never_share_a_record"),
        ("an equal `employeeId` is shown as an argument for it.", MODEL, "answers::a_rehire_gets_the_old_record_and_an_equal_employee_id_is_shown_as_an_argument"),
        ("*New object id with a known address*: a possible rehire, always to review", WORKER, "answers::a_rehire_gets_the_old_record_and_access_by_fresh_reads"),
    ]),
    ("Local edits", &[
        ("The editor is told so before saving", CLI, "by_hand::y4_an_edit_warns_before_it_is_saved_and_is_overwritten_when_the_person_changes"),
        ("the history keeps what was overwritten", STORE, "by_hand::y4_an_edit_is_kept_through_reads_and_the_history_keeps_what_was_overwritten"),
    ]),
    ("Kind change", &[
        ("Then one transaction: the old record is archived, a record of the new kind is created and linked.", STORE, "kind_change::m7_the_old_record_is_archived_and_one_of_the_new_kind_takes_its_place"),
        ("Previewed", WORKER, "preview::a_plan_says_of_each_person_what_would_differ"),
        ("its archived name is written once, with the archiving", STORE, "kind_change::m8_a_record_in_use_is_archived_for_good_and_the_next_archive_gets_a_number"),
        ("Returning to a former kind brings that person's archived record back", FLOW, "kind_change::m7_an_employee_becomes_a_contact_and_comes_back"),
        ("a second archive of the same name gets a number.", STORE, "kind_change::m7_an_archived_name_that_somebody_has_gets_a_number"),
        ("Never two live logins, at no instant", STORE, "apply::g_20_one_person_never_has_two_live_logins"),
        ("Never two live logins, at no instant", STORE, "merge::g20_the_record_that_others_refer_to_stays_and_the_other_is_archived_with_its_sessions"),
    ]),
    ("Leaving and coming back", &[
        ("A full sync also takes the ids of deleted people (31 days), so that a later restore is recognised.", WORKER, "full_sync::d2_whoever_was_deleted_before_the_first_sync_is_recognised_when_restored"),
        ("A full sync also takes the ids of deleted people (31 days), so that a later restore is recognised.", WORKER, "delta::g17_somebody_restored_after_weeks_comes_back_as_the_same_record"),
        ("`record activate` removes `by_hand` and nothing else, and access comes back by a fresh read.", MODEL, "by_hand::activate_removes_by_hand_and_nothing_else_and_access_comes_back_by_a_fresh_read"),
        ("`record activate` removes `by_hand` and nothing else, and access comes back by a fresh read.", CLI, "by_hand::by_hand_off_stays_off_until_somebody_takes_it_back_and_microsoft_is_asked"),
        ("Sessions-revoked counts only when `signInSessionsValidFromDateTime` moves forward.", MODEL, "by_hand::sessions_end_when_the_instant_moves_forward_on_an_active_record_and_never_else"),
        ("Sessions-revoked counts only when `signInSessionsValidFromDateTime` moves forward.", FLOW, "by_hand::d5_sessions_revoked_in_microsoft_end_here_and_the_record_stays_active"),
    ]),
    ("Guests", &[
        ("recognised by `userType` or by an accepted invitation (members converted from guests exist).", FLOW, "by_hand::y7_guests_are_out_by_type_or_by_invitation_and_back_as_members"),
    ]),
    ("Nested groups", &[
        ("When an inner group changes, the people under it are looked at again.", WORKER, "people::a_nested_group_brings_its_people_and_takes_them_along"),
        ("When an inner group changes, the people under it are looked at again.", FLOW, "flow::a_deleted_inner_group_takes_its_people_along"),
        ("Cycles are harmless.", WORKER, "people::m10_groups_inside_each_other_are_harmless"),
        ("The interface says that Microsoft's own app assignment does not count nested members.", CLI, "typing::m10_the_help_says_how_microsofts_own_assignment_differs"),
    ]),
    ("The brake", &[
        ("A single leaver under the limit is never delayed.", WORKER, "brake::a_single_leaver_is_never_delayed"),
        ("The judgement and the count are one transaction that locks the connection's brake row; Eight workers together let through exactly the limit.", STORE, "brake::g_19_eight_workers_together_let_through_exactly_the_limit"),
        ("an empty listing removes nobody", FLOW, "accident::fa_29_all_groups_are_emptied_and_then_a_listing_returns_a_tenth"),
        ("at a first sync the removals are one hold.", FLOW, "accident::d6_the_removals_of_a_first_sync_are_one_hold"),
        ("Tripped: only the excess is held; creates, updates and other connections go on.", WORKER, "brake::g19_a_mass_disable_is_held_above_the_limit_and_nothing_else_is"),
        ("The hold lists each person with the cause and alarms within a minute.", STORE, "hold::fa_29_holds_are_told_of_at_once_and_again_each_day_until_nobody_is_kept_by_them"),
        ("Time, attribute changes and settles never let anyone out.", STORE, "brake::time_lets_nobody_out_of_a_hold"),
        ("being read back (in scope again", STORE, "brake::whoever_is_read_back_leaves_the_hold"),
        ("or a *new cause class* (held for lost scope, then disabled in Microsoft: judged as a revocation at once)", STORE, "brake::a_new_cause_class_is_judged_at_once_and_leaves_the_old_hold"),
        ("Approve means *this list*: everyone on it is read again first", STORE, "hold::d6_approved_people_are_read_first_and_go_without_counting"),
        ("Reject keeps them", FLOW, "accident::d6_whoever_is_kept_by_a_no_stays_until_something_changes"),
        ("Both want a reason.", CLI, "typing::d6_an_answer_to_a_hold_wants_a_reason"),
        ("An unanswered hold stays open and keeps alarming.", STORE, "hold::fa_29_holds_are_told_of_at_once_and_again_each_day_until_nobody_is_kept_by_them"),
        ("A rule plan confirmed with `--yes` exempts exactly the people on the shown plan.", WORKER, "reevaluate::g10e_a_confirmed_plan_takes_access_at_once_from_exactly_the_people_on_it"),
    ]),
    ("Preview", &[
        ("The same engine over the same data with the writing side absent", WORKER, "preview::before_the_first_rules_everybody_in_the_groups_would_be_created_and_nothing_is_written"),
        ("Buckets: created, linked, review needed, unchanged, deactivated, kind changed, role changed; counts, samples and the full list", CLI, "planning::m12_the_full_plan_is_a_table_json_and_csv"),
        ("for rules not yet saved.", WORKER, "preview::a_plan_counts_who_would_leave_from_what_is_known_now"),
        ("Applying a rule file first shows the plan and wants `--yes` when anyone would lose access", CLI, "serving::taking_access_by_rules_wants_a_yes"),
        ("the plan is kept in the audit trail.", CLI, "planning::m12_nobody_loses_access_whom_the_shown_plan_did_not_name"),
    ]),
    ("A connection in trouble", &[
        ("Throttling, 5xx and network: transient, `Retry-After` honoured, never switches anything off.", WORKER, "trouble::fa11_throttling_takes_nobody_out"),
        ("401, 403, consent gone, credential expired: *needs attention*, with the permission or secret named and the remedy in plain words", WORKER, "trouble::c5_a_missing_permission_takes_nobody_out"),
        ("401, 403, consent gone, credential expired: *needs attention*, with the permission or secret named and the remedy in plain words; an alarm at once.", WORKER, "trouble::fa14_a_refused_secret_needs_attention_and_heals_by_itself"),
        ("On recovery: delta from the last good token, then a compare.", WORKER, "trouble::c5_after_a_long_trouble_everybody_is_compared"),
    ]),
    ("Replay", &[
        ("the stored notification is never re-applied.", WORKER, "trouble::r2_a_replayed_event_is_read_now"),
        ("Failed events keep their cause class, attempts and last error", STORE, "replay::what_a_replay_answers_is_superseded_and_keeps_its_error"),
        ("replay one, a filter, or all of one cause", STORE, "replay::all_failed_of_one_cause_are_replayed_once_each"),
        ("a replay links to its original.", STORE, "replay::r2_a_replay_is_an_event_of_its_own_that_reads_both_facets"),
        ("A handler of a removal can never create anything.", WORKER, "evidence::th08_an_id_that_nobody_has_creates_nothing"),
    ]),
    ("History and audit", &[
        ("For each change: trigger, the observed source values used, the rule that won, before and after per field, the actor.", STORE, "apply::somebody_in_a_mapped_group_gets_a_record_with_its_history"),
        ("For each change: trigger, the observed source values used, the rule that won, before and after per field, the actor.", STORE, "audit::r_4_entries_of_one_record_are_found_among_many_others"),
        ("Configuration changes too.", CLI, "planning::m12_nobody_loses_access_whom_the_shown_plan_did_not_name"),
        ("E-mail addresses are kept as they were at the time.", STORE, "by_hand::y4_an_edit_is_kept_through_reads_and_the_history_keeps_what_was_overwritten"),
    ]),
];

#[test]
fn every_sentence_that_others_must_keep_has_its_test_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut missing = Vec::new();
    for (section, (sentence, folder, place)) in
        CASES.iter().flat_map(|(section, cases)| cases.iter().map(move |case| (section, case)))
    {
        let (file, test) = place.split_once("::").expect("file::test");
        let text = std::fs::read_to_string(root.join(folder).join(format!("{file}.rs"))).unwrap_or_default();
        if !text.contains(&format!("fn {test}(")) {
            missing.push(format!("{section}: {sentence} ({folder}/{place})"));
        }
    }
    assert!(missing.is_empty(), "no test holds us to: {missing:#?}");
}
