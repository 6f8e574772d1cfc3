BEGIN TRANSACTION;
CREATE TABLE attempts (
        run TEXT NOT NULL REFERENCES runs, n INTEGER NOT NULL, state TEXT NOT NULL,
        doc TEXT NOT NULL, PRIMARY KEY (run, n)) WITHOUT ROWID;
INSERT INTO "attempts" VALUES('sampl1',1,'ended','{"run":"sampl1","n":1,"rental":"sampl1-1","state":"ended","created":1795305601.0,"sent":null,"submitted":1795305640.0,"started":null,"ended":null,"job_state":"","job_reason":"","exit_code":0,"collected":1795305690.0,"stop_asked":null,"failures":0,"retry_at":0.0,"unreachable_since":null,"outcome":"succeeded","reason":""}');
CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, kind TEXT NOT NULL,
        run TEXT, rental TEXT, old TEXT, new TEXT, text TEXT NOT NULL, data TEXT NOT NULL);
INSERT INTO "events" VALUES(1,1795305600.0,'run','sampl1',NULL,NULL,'waiting','asked for','{}');
INSERT INTO "events" VALUES(2,1795305700.0,'run','sampl1',NULL,'collecting','ended','the command ended with status 0','{}');
CREATE TABLE machines (id INTEGER PRIMARY KEY, refused REAL NOT NULL, reason TEXT NOT NULL);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('home','homeabcd');
CREATE TABLE offers (
        query TEXT PRIMARY KEY, seen REAL NOT NULL, complete INTEGER NOT NULL, body BLOB NOT NULL)
        WITHOUT ROWID;
CREATE TABLE rentals (
        id TEXT PRIMARY KEY, run TEXT NOT NULL REFERENCES runs, label TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL, contract INTEGER, doc TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "rentals" VALUES('sampl1-1','sampl1','choline-homeabcd-sampl1-1','gone',900001,'{"id":"sampl1-1","run":"sampl1","attempt":1,"label":"choline-homeabcd-sampl1-1","state":"gone","type":"on-demand","offer_id":4711,"machine_id":12,"gpu_name":"RTX 4090","num_gpus":1,"place_name":"","offer_price":0.41,"disk_gb":20.0,"disk_per_hour":0.0,"cap":0.5,"bid":null,"intended":1795305602.0,"contract":900001,"price":0.41,"price_checked":true,"seen":null,"running_since":null,"up":null,"host_key":"","looks":0,"next_look":0.0,"stopped_since":null,"release_reason":"","failed":false,"fatal_since":null,"evidence":null,"destroy_asked":null,"destroy_accepted":null,"keep_until":null,"deadline":null,"gone":1795305699.0,"billed_from":1795305603.0,"cost":0.0109,"cost_at":null}');
CREATE TABLE runs (
        id TEXT PRIMARY KEY, state TEXT NOT NULL, name TEXT NOT NULL, created REAL NOT NULL,
        doc TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "runs" VALUES('sampl1','ended','sample',1795305600.0,'{"id":"sampl1","plan":{"project":"/home/ada/net","command":"python train.py --epochs 3","setup":"","name":"sample","note":"","place":"vast","query":"gpu_name=RTX_4090 num_gpus=1","order":"dph_total","type":"on-demand","disk_gb":20.0,"image":"","offer_id":null,"machine_id":null,"cap":0.5,"bid":null,"env":{},"ports":[],"send":[],"results":[],"results_into":"/home/ada/net/results/sample1","results_every_s":180.0,"results_max_bytes":0,"max_life_s":86400.0,"lease_s":43200.0,"grace_s":1800.0,"stop_grace_s":30.0,"boot_limit_s":1200.0,"ssh_limit_s":300.0,"tries":5,"wait_s":600.0,"keep_s":0.0},"code":null,"state":"ended","want":"run","stop_reason":"","drop_results":false,"outcome":"succeeded","exit_code":0,"reason":"","phase":"","created":1795305600.0,"updated":1795305700.0,"started":null,"ended":1795305700.0,"not_before":0.0,"like":null,"results_synced":null,"results_complete":true}');
CREATE TABLE searches (day TEXT PRIMARY KEY, used INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX runs_by_time ON runs (created);
CREATE INDEX rentals_by_run ON rentals (run);
CREATE INDEX events_by_run ON events (run, seq);
CREATE TRIGGER events_stay BEFORE UPDATE ON events
        BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END;
CREATE TRIGGER events_last BEFORE DELETE ON events
        BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END;
COMMIT;
PRAGMA user_version = 1;
