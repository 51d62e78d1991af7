-- What bench_api.py reads. :versions and :annotations are numbers.
INSERT INTO datasets (name, task_type, description, loop, owner)
SELECT 'bench' || n, 'image_classification', 'number ' || n, '{"classes": ["a", "b"], "policy": {"labels": 1000000}}', 'ada'
FROM generate_series(1, 100) AS n;
INSERT INTO dataset_versions (dataset_id, name, major, minor, tree, files, bytes, message, provenance, owner)
SELECT 1, 'bench1_v1.' || n, 1, n, md5(n::text) || '.dir', 1000, 1000000, 'version ' || n, '{"kind": "snapshot"}', 'ada'
FROM generate_series(0, :versions - 1) AS n;
INSERT INTO dataset_version_parents (version_id, parent_id, position)
SELECT child.id, parent.id, 0 FROM dataset_versions AS child JOIN dataset_versions AS parent
    ON parent.minor = child.minor - 1;
UPDATE datasets SET head_id = (SELECT max(id) FROM dataset_versions) WHERE id = 1;
INSERT INTO batches (dataset_id, name, tree, samples, provenance, owner)
VALUES (1, 'pool', md5('pool') || '.dir', :annotations, '{}', 'ada');
INSERT INTO annotation_tasks (dataset_id, batch_id, kind, sample_id, path, object, prediction, reason, state, owner)
SELECT 1, 1, 'label', 's' || n, n || '.png', md5('a sample'),
    '{"label": "a", "confidence": 0.6, "uncertainty": 0.8, "probabilities": {"a": 0.6, "b": 0.4}, "model_version": 1}',
    CASE WHEN n % 10 = 0 THEN '{"strategy": "random", "model_version": 1}'
        ELSE '{"strategy": "margin", "rank": 1}' END::jsonb,
    CASE WHEN n <= :annotations THEN 'confirmed' ELSE 'open' END, 'ada'
FROM generate_series(1, 2 * :annotations) AS n;
INSERT INTO annotations (dataset_id, task_id, label, comment, seconds, outcome, outcome_reason, owner)
SELECT 1, id, 'a', '', 1.5, 'confirmed', '', CASE WHEN id % 10 = 0 THEN 'ada' ELSE 'person' || id % 50 END
FROM annotation_tasks WHERE state = 'confirmed';
INSERT INTO confirmed_annotations (dataset_id, number, batch_id, annotation_id, sample_id, label, confirmed_by, owner)
SELECT 1, row_number() OVER (ORDER BY annotations.id), 1, annotations.id, sample_id, 'a', 'two agree', annotations.owner
FROM annotations JOIN annotation_tasks ON annotation_tasks.id = task_id;
INSERT INTO rounds (dataset_id, number, state, reason, base_version_id, version_id, metrics, owner)
SELECT 1, n, 'accepted', 'due', n + 1, n + 2, '{"accuracy": 0.9}', 'ada' FROM generate_series(0, 199) AS n;
INSERT INTO round_annotations (confirmed_id, round_id) SELECT id, 1 + id % 200 FROM confirmed_annotations;
INSERT INTO audit_events (owner, action, resource, outcome, status, address, request_id)
SELECT 'ada', 'POST /x', '/x', 'ok', 200, '127.0.0.1', 'r' FROM generate_series(1, 10000);
INSERT INTO policy_evaluations (dataset_id, due, reason, facts, owner)
SELECT 1, false, '17 more labels needed', '{"needed": 40, "waiting": 23}', 'service:learnloop' FROM generate_series(1, :annotations);
INSERT INTO decisions (dataset_id, kind, run_id, accepted, reason, comparison, owner)
SELECT 1, 'gate', 'round-bench1-' || n, true, 'better', '{"model_version": 1}', 'ada' FROM generate_series(1, 200) AS n;
INSERT INTO reviews (dataset_id, task_id, kind, reason, facts, decision_reason, owner)
SELECT 1, id, 'requested', 'look again', '{"label": "a"}', '', 'ada' FROM annotation_tasks WHERE state = 'confirmed' AND id % 100 = 0;
INSERT INTO merge_requests (dataset_id, base_id, ours_id, theirs_id, version_id, state, message, report, closed_by, owner)
SELECT 1, n, n + 1, n + 2, n + 3, 'merged', '', '{}', 'ada', 'ada' FROM generate_series(1, 1000) AS n;
INSERT INTO scoring_runs (dataset_id, batch_id, run_id, model_name, model_version, predictions, strategy, scored, chosen, summary, owner)
SELECT 1, 1, 'run' || n, 'bench1', 1, '/x', 'margin', 1000, 40, '{"confidence": 0.8}', 'ada' FROM generate_series(1, 200) AS n;
INSERT INTO events (owner, kind, key, text, link, dag_id, run_id)
SELECT CASE WHEN n % 2 = 0 THEN 'ada' ELSE 'eng' END, 'finished', 'k' || n, 'a run ended well', '', 'd', 'r' FROM generate_series(1, 10000) AS n
