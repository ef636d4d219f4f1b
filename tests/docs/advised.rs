//! What a reason advises a person to do, a test does: it shows that it can be done as it stands, and that it helps.

use cloud_image_operator::docs::reasons::{Acts, REASONS};
use std::{collections::BTreeSet, fs, path::Path};

/// By reason, the file below `tests` and the function in it.
const APPLIED: &[(&str, &str, &str)] = &[
    ("AccountDeleting", "e2e/advice.rs", EACH),
    ("AccountNotFound", "e2e/accounts.rs", "each_missing_thing_is_named_and_waited_for"),
    ("AccountNotHeld", "e2e/rights.rs", "who_may_not_hold_an_account_makes_nothing_with_it_until_it_may"),
    ("AccountNotWatched", "e2e/advice.rs", EACH),
    ("AlreadyExists", "e2e/advice.rs", EACH),
    (
        "AvailableWithWarning",
        "e2e/image_build.rs",
        "what_succeeded_in_part_is_ready_and_says_so_until_it_goes",
    ),
    ("BuildFailed", "e2e/aosp_image.rs", "a_failed_build_stays_failed_until_somebody_asks"),
    ("ClockSkew", "e2e/advice.rs", EACH),
    (
        "CopyRefused",
        "e2e/image_distribution.rs",
        "what_the_api_server_refuses_of_a_copy_is_said_and_tried_again_when_asked",
    ),
    ("CopyStalled", "e2e/image_distribution.rs", "the_region_that_fails_is_named_and_goes_on_when_asked"),
    ("CredentialsRefused", "e2e/accounts.rs", "a_rotated_secret_works_at_once"),
    ("DeletionWaits", "e2e/image_export.rs", "a_running_export_holds_its_object_or_is_let_go"),
    ("Drifted", "e2e/policies.rs", "a_difference_is_shown_before_anything_is_changed"),
    ("EndpointNotAllowed", "e2e/accounts.rs", "an_endpoint_that_is_not_allowed_is_refused"),
    ("ExportFailed", "e2e/image_export.rs", "a_failed_export_says_what_to_check_and_tries_again_when_asked"),
    ("HeldByOther", "e2e/advice.rs", EACH),
    ("ImportAmbiguous", "e2e/conflict.rs", "a_match_imports_exactly_one"),
    ("ImportNotFound", "e2e/advice.rs", EACH),
    ("InUse", "e2e/accounts.rs", "an_account_in_use_stays_until_the_last_image_is_gone"),
    ("InvalidAccount", "cluster_accounts.rs", "an_account_that_cannot_be_read_is_said_on_the_account"),
    ("InvalidObject", "cluster_accounts.rs", "an_object_that_cannot_be_read_is_said_on_the_object"),
    (
        "InvalidOutcome",
        "e2e/aosp_image.rs",
        "a_lost_build_whose_annotation_does_not_come_back_is_a_person_s_to_tell",
    ),
    ("InvalidSpec", "e2e/policies.rs", "what_failed_is_tried_again_with_a_new_spec_or_on_request"),
    ("InvalidStatus", "e2e/malformed.rs", "a_status_that_makes_no_sense_is_said_on_the_object"),
    ("LookFailed", "e2e/accounts.rs", "a_rotated_secret_works_at_once"),
    ("MadeForOther", "e2e/marks.rs", "what_another_cluster_made_is_taken_over_only_by_who_says_so"),
    ("Missing", "e2e/advice.rs", EACH),
    (
        "NameTaken",
        "e2e/image_distribution.rs",
        "a_copy_that_somebody_changed_or_deleted_is_set_right_and_a_namesake_is_left_alone",
    ),
    (
        "NamespaceNotAllowed",
        "cluster_accounts.rs",
        "the_namespaces_that_an_account_allows_may_use_it_and_no_other",
    ),
    (
        "NotConverging",
        "e2e/advice.rs",
        "a_field_that_does_not_stay_is_named_and_stays_when_nobody_else_sets_it",
    ),
    ("NotFound", "e2e/advice.rs", EACH),
    (
        "OutcomeUnknown",
        "e2e/aosp_image.rs",
        "a_lost_build_whose_annotation_does_not_come_back_is_a_person_s_to_tell",
    ),
    ("PermissionDenied", "e2e/advice.rs", EACH),
    ("PreflightFailed", "e2e/preflight.rs", "what_an_export_lacks_is_said_before_it_is_asked_for"),
    ("ProductIdMissing", "e2e/aosp_image.rs", "without_a_product_id_nothing_is_built"),
    ("QuotaExceeded", "e2e/advice.rs", EACH),
    (
        "ContentTooLong",
        "e2e/image_pipeline.rs",
        "steps_that_are_too_long_when_written_out_are_refused_before_the_call",
    ),
    ("ReferenceNotReady", "e2e/advice.rs", "a_reference_that_nothing_fits_can_be_replaced_by_the_id"),
    ("Restored", "e2e/intent.rs", "what_is_restored_from_a_backup_is_not_built_again"),
    ("SecretKeyInvalid", "e2e/accounts.rs", "what_is_wrong_in_a_secret_is_said_before_anybody_is_called"),
    ("SecretKeyMissing", "e2e/accounts.rs", "each_missing_thing_is_named_and_waited_for"),
    ("SecretNotFound", "e2e/accounts.rs", "each_missing_thing_is_named_and_waited_for"),
    ("SecretUnreadable", "e2e/rights.rs", "a_whole_life_needs_few_rights_and_one_secret"),
    ("SpecDiffers", "e2e/advice.rs", "what_was_made_and_differs_can_be_corrected_to_what_the_vendor_has"),
    ("StatusRefused", "e2e/writes.rs", "a_status_that_is_refused_is_shown_as_far_as_it_is_taken"),
    ("Suspended", "e2e/policies.rs", "what_is_suspended_calls_nobody"),
    (
        "TestFailed",
        "e2e/image_build.rs",
        "an_image_whose_tests_fail_goes_or_stays_and_is_built_again_when_asked",
    ),
    (
        "TimedOut",
        "e2e/root_volume_template.rs",
        "an_image_that_a_dead_node_left_is_named_and_goes_with_its_object",
    ),
    (
        "TokenReused",
        "e2e/lost_answers.rs",
        "a_refusal_for_its_token_is_shown_and_the_next_attempt_has_another",
    ),
    (
        "TooManyVersions",
        "e2e/versions.rs",
        "where_there_is_no_room_for_another_version_old_ones_are_named_to_go",
    ),
    (
        "Unusable",
        "e2e/root_volume_template.rs",
        "an_image_that_cannot_be_used_says_so_and_recovers_by_itself",
    ),
    ("VendorRefused", "e2e/advice.rs", EACH),
    ("WriteRefused", "e2e/writes.rs", "who_may_not_write_an_object_says_so_and_asks_the_vendor_once"),
    ("WrongVendor", "e2e/advice.rs", EACH),
    ("TakenOver", "e2e/policies.rs", "a_difference_is_shown_before_anything_is_changed"),
];

/// The test that does, of many reasons, what each advises.
const EACH: &str = "what_each_reason_advises_helps";

/// What no test can do.
const NOBODY: &[(&str, &str)] = &[
    ("InternalError", "to report a bug"),
    ("Failed", "a status without a reason is none that this operator writes"),
];

#[test]
fn what_a_reason_advises_a_person_to_do_a_test_does() {
    let left_out = NOBODY.iter().map(|(reason, _)| *reason);
    let listed: BTreeSet<_> = APPLIED.iter().map(|(reason, ..)| *reason).chain(left_out).collect();
    let persons = REASONS.iter().filter(|reason| reason.acts == Acts::Person).map(|reason| reason.name);
    let left: Vec<_> = persons.filter(|reason| !listed.contains(reason)).collect();
    assert!(left.is_empty(), "no test does what these advise: {left:?}");
    let gone = listed.iter().filter(|name| REASONS.iter().all(|reason| reason.name != **name));
    assert_eq!(gone.collect::<Vec<_>>(), Vec::<&&str>::new());
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for (reason, file, function) in APPLIED {
        let text = fs::read_to_string(tests.join(file)).expect("a file");
        assert!(text.contains(&format!("async fn {function}(")), "{reason}: no {function} in {file}");
        assert!(text.contains(&format!("\"{reason}\"")), "{file} says nothing of {reason}");
    }
}
