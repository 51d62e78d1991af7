"""Which cases are long proofs: left to `make faults`. Every run has a short selection of each.

The table says how many cases of a test every run has; the others get the marker ``long``.
"""

from __future__ import annotations

from collections import Counter

import pytest

KEPT = {
    # random orders of events
    "test_collector_and_writers_in_any_order": 0,
    "test_any_order_of_events_leaves_a_sound_graph": 0,
    "test_writers_and_a_collector_at_full_speed": 0,
    # races of many processes
    "test_sixteen_writers_in_line_write_one_after_the_other": 0,
    "test_two_reviewers": 1,
    "test_an_undo_meets_the_gold_task_that_closes_the_lot": 1,
    "test_an_undo_meets_the_second_opinion": 1,
    "test_a_reviewer_decides_while_an_annotator_answers": 1,
    "test_a_writer_stopped_past_its_expiry_is_refused_when_it_continues": 1,
    "test_the_collector_waits_for_who_holds": 1,
    "test_the_collector_gives_up_when_the_holder_does_not_end": 0,
    # killed at every step
    "test_a_collector_killed_anywhere_loses_nothing_and_the_next_takes_the_rest": 2,
    "test_a_killed_commit_was_not_made_and_its_retry_makes_it": 2,
    "test_a_killed_completion_changes_nothing_and_can_be_done_again": 2,
    "test_a_killed_auto_merge_leaves_nothing_and_can_be_done_again": 1,
    "test_who_is_killed_moving_leaves_the_version_where_it_was": 2,
    "test_killed_at_any_step_a_retry_ends_the_same": 2,
    "test_upkeep_takes_away_what_a_killed_process_left": 1,
    "test_a_killed_restore_leaves_the_target_as_it_was_or_complete": 2,
    "test_a_killed_push_shows_nothing_half_and_continues": 2,
    "test_a_killed_fetch_shows_nothing_half_and_continues": 2,
    "test_a_killed_replication_shows_nothing_half_and_continues": 1,
    "test_a_killed_repair_loses_nothing_and_ends_well_when_run_again": 1,
    "test_servers_killed_in_a_stream_of_requests_answer_rightly_and_come_back_with_the_same_versions": 0,
    # a remote in a folder is enough; another in S3 has its own listing and removal tried once
    "test_what_is_named_and_pushed_meanwhile_stays": 1,
    "test_one_that_ended_in_between_is_gone_on_with": 1,
    "test_a_list_that_is_lost_stops_it": 1,
    "test_it_is_refused_beside_another_and_of_what_is_not_there": 1,
    # real nginx, five seconds for each server
    "test_a_request_is_answered_when_one_server_is_back_and_the_other_goes": 1,
    # hundreds of requests and connections at once to a real nginx
    "test_an_address_has_a_burst_of_requests_and_more_get_429": 0,
    "test_an_address_has_512_connections_and_the_next_gets_429": 0,
    # a PostgreSQL and its replica of its own, a minute
    "test_a_replica_that_is_promoted_is_written_to_and_takes_the_place_of_the_lost_one": 0,
    # what the campaign of faults goes by (`make fault-campaign`)
    "test_each_broken_promise_is_found_and_a_sound_platform_has_none": 0,
    # every migration, forth and back, from each revision
    "test_from_every_revision_with_rows_in_it_to_the_newest": 1,
    "test_a_killed_backup_is_none_and_the_next_copies_only_what_is_left": 2,
    "test_a_killed_restore_shows_nothing_and_is_done_again": 1,
    "test_who_is_killed_when_all_is_done_but_the_mark_just_takes_it_away": 0,
    "test_a_killed_removal_leaves_what_is_kept_whole": 1,
    "test_a_backup_that_was_tampered_with_is_refused_whole": 2,
    "test_versions_in_colder_tiers_are_backed_up_from_the_remote": 1,
    # the stock dvc, a process of seconds each time
    "test_what_the_cache_lacks_comes_from_its_remote": 0,
    "test_a_repository_is_imported_from_its_git_url": 0,
    "test_the_stock_gc_cannot_empty_a_remote_given_with_keys_that_only_read": 0,
    # workspace_training on an Airflow of its own; every run has it on the live stack's (test_dag_runs.py)
    "test_the_first_is_merged_and_who_disagrees_gets_a_branch": 0,
    "test_a_failed_run_leaves_nothing": 0,
    # a training in the running Airflow, half a minute each
    "test_a_job_that_is_killed_is_tried_again_and_the_model_serves": 0,
    "test_a_person_rejects_and_nothing_serves": 0,
    # a minute on the live stack; every run has what it derives (test_pipeline_incremental.py)
    "test_an_incremental_training_is_derived_from_its_base": 0,
    # the cluster's API server away for half a minute; every run has a job that waits for it
    "test_a_rollout_and_a_canary_outlast_an_api_server_that_is_away": 0,
    # the whole demo, minutes each
    "test_ctrl_c_anywhere_stops_everything_and_the_next_demo_works": 0,
    # every string of every operation, for each kind of text
    "test_no_text_breaks_runs_or_gets_out": 0,
    # a real Prometheus, and each alert's fault made in what it watches
    "test_an_alert_finds_its_fault": 1,
    "test_a_triggerer_that_hangs_is_noticed": 0,
    # Airflow's processes anew, a quarter of a minute each
    "test_a_caller_that_does_not_keep_its_trace_has_none_kept": 0,
    "test_nothing_is_traced_unless_airflow_traces": 0,
    "test_one_trace_through_the_running_stack": 0,
    # for each auth manager; FAB's cases come first
    "test_a_deployment_is_initialised_and_again_does_no_harm": 1,
    "test_what_needs_airflow_keeps_to_the_document": 3,
    "test_a_token_that_is_in_use_ends_at_its_time": 1,
    "test_a_path_that_airflow_would_not_hand_on_is_answered_in_our_words": 1,
    "test_guessing_is_slowed_down_for_who_guesses_and_for_nobody_else": 1,
    "test_an_event_arrives_as_it_happens_and_only_at_its_persons": 1,
    "test_one_person_can_keep_only_so_many_open": 1,
    "test_a_stream_ends_with_its_token": 1,
    "test_the_command_line_shows_what_one_was_told": 1,
    "test_the_command_line_says_what_it_does": 1,
    # a browser, half a minute each; every view, in one of four combinations of language, colours and width
    "test_every_view_is_there": 1,
    "test_a_row_fits_a_tablet": 0,
    "test_colours_of_many_classes_are_a_table_and_labels_go_out_and_tasks_come_in": 0,
    "test_every_view_is_readable_in_airflows_colours": 1,
    "test_an_api_server_killed_in_mid_submit_loses_no_answer_and_counts_it_once": 0,
    "test_with_only_what_is_needed_filled_in_a_run_starts": 1,
    # large data for each trainer, a fit that is killed for each
    "test_memory_is_bounded_by_a_few_copies_of_the_data": 0,
    "test_a_killed_fit_resumes_to_the_same_model": 1,
    # a run of a DAG in processes of its own, ten seconds each
    "test_a_dag_waits_takes_the_lock_and_gives_it_back": 0,
    # each process of the fork server killed, ten seconds each
    "test_what_a_sigkill_leaves": 1,
    # fifteen seconds of load and an API server; CI has annotators and a killed API server in `make faults-short`
    "test_each_task_is_answered_as_often_as_asked_and_no_answer_is_lost": 0,
    # an API server of its own
    "test_a_server_that_stops_does_not_wait_for_streams": 0,
    # canaries in model servers: another slow model, and one that errs, which its server ends by itself
    "test_a_canary_that_a_person_opened_is_judged_by_maintenance": 0,
    "test_a_model_that_does_worse_is_ended_and_its_round_is_rejected": 1,
    # jobs as pods: half a minute or more each, or a stack of their own that is killed in parts
    "test_a_pod_that_is_deleted_or_evicted_is_made_again_from_its_checkpoint": 0,
    "test_a_pod_that_the_kubelet_evicts_is_made_again": 0,
    "test_a_triggerer_that_dies_with_the_pod_gone_meanwhile": 0,
    "test_an_api_server_that_is_killed_and_back_after_a_minute": 0,
    "test_models_answer_and_a_rollout_ends_when_the_api_server_is_killed_in_it": 0,
    "test_a_node_that_is_restarted": 0,
    "test_a_run_ends_well_when_the_part_that_waits_is_killed": 0,
    "test_a_task_that_is_cleared_gets_another_pod_and_the_first_is_gone": 0,
    "test_maintenance_removes_a_pod_whose_task_was_ended_while_no_triggerer_ran": 0,
    "test_a_turn_and_the_jobs_end_need_no_slot_of_a_pool": 0,
    "test_maintenance_finds_what_nobody_released": 0,
    "test_an_increment_of_one_is_no_hindrance_for_the_other": 0,
    "test_nobody_comes_to_anothers_files_by_a_run": 0,
    # every run has a pod's whole way, kinds of hindrance, and a stack whose jobs are pods (test_pods_in_airflow.py)
    "test_the_end_of_a_triggerer_loses_no_place_and_no_reservation": 0,
    "test_the_time_limit_of_a_task_counts_from_admission": 0,
    "test_two_people_train_at_once_and_both_results_become_versions": 0,
    "test_a_task_that_is_marked_failed_leaves_no_pod": 0,
    "test_two_tasks_with_one_job_train_once": 0,
    "test_what_cannot_be_scheduled_is_waited_for_and_the_reason_shown": 0,
    "test_a_task_over_its_execution_timeout_leaves_no_pod": 0,
    "test_a_job_that_nears_its_limit_is_warned_of": 0,
    "test_another_persons_folder_is_refused_as_an_input": 1,
    "test_maintenance_removes_claims_of_ended_runs_and_tells_of_others": 0,
    "test_a_claim_in_the_way_is_told_and_left": 0,
    # half a minute each, and a virtual environment of Sphinx's
    "test_the_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere": 0,
    "test_a_link_that_leads_nowhere_ends_the_build": 0,
    # models as pods: half a minute or more each, and an image of the page
    "test_ten_rolls_under_load_fail_no_request": 0,
    "test_what_is_another_persons_stays_and_an_alias_that_goes_takes_only_ours": 0,
    "test_a_rollout_that_stalls_says_what_it_waits_for_and_the_old_goes_on": 0,
    "test_a_canary_that_errs_is_told_from_the_pods_metrics_and_ended": 0,
    "test_a_version_is_deployed_and_a_broken_one_is_taken_back_everywhere": 0,
    "test_a_first_version_that_is_broken_leaves_nothing": 0,
    "test_a_person_promotes_rolls_back_and_takes_away": 0,
    "test_a_canary_that_errs_is_ended_by_its_task_with_the_reason": 0,
    "test_a_canary_that_a_person_opened_is_ended_by_maintenance_when_it_is_slow": 0,
    "test_maintenance_takes_back_what_pods_refuse_when_its_task_was_killed": 0,
    "test_only_the_platform_reads_what_a_pod_noted": 0,
    "test_the_page_and_the_model_servers_answer_behind_their_services": 0,
    # bounded by the time of what is waited for
    "test_as_many_transfers_run_at_once_as_were_asked_for": 0,
    "test_a_large_object_goes_to_s3_in_parts": 0,
}


def mark_long(items: list[pytest.Item]) -> None:
    seen: Counter[str] = Counter()
    for item in items:
        name = getattr(item, "originalname", item.name).partition("[")[0]  # schemathesis' have the operation in it
        if name in KEPT:
            seen[name] += 1
            if seen[name] > KEPT[name]:
                item.add_marker(pytest.mark.long)
