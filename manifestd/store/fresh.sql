CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
);

CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name");

CREATE TABLE "blob" (
   "id" INTEGER PRIMARY KEY,
   "digest" BLOB NOT NULL,
   "kind" TEXT NOT NULL,
   "encoding" TEXT NOT NULL,
   "size" INTEGER NOT NULL,
   "data" BLOB NOT NULL
);

CREATE UNIQUE INDEX "idx_blob_digest"
    ON "blob" ("digest");

CREATE TABLE "snapshot" (
   "id" INTEGER PRIMARY KEY REFERENCES "blob"("id"),
   "digest" BLOB NOT NULL,
   "manifest" BLOB,
   "name" TEXT NOT NULL,
   "source" TEXT NOT NULL,
   "requested" TEXT,
   "revision" TEXT,
   "captured" INTEGER NOT NULL,
   "captured_at" TEXT NOT NULL,
   "complete" INTEGER NOT NULL,
   "files" INTEGER NOT NULL,
   "bytes" INTEGER NOT NULL
);

CREATE UNIQUE INDEX "idx_snapshot_digest"
    ON "snapshot" ("digest");

CREATE INDEX "idx_snapshot_manifest_captured"
    ON "snapshot" ("manifest", "captured");

CREATE INDEX "idx_snapshot_name_captured"
    ON "snapshot" ("name", "captured");

CREATE INDEX "idx_snapshot_source_captured"
    ON "snapshot" ("source", "captured");

CREATE INDEX "idx_snapshot_captured"
    ON "snapshot" ("captured");

CREATE TABLE "signature" (
   "snapshot" INTEGER NOT NULL REFERENCES "snapshot"("id"),
   "bundle" INTEGER NOT NULL REFERENCES "blob"("id"),
   PRIMARY KEY ("snapshot", "bundle")
);

CREATE TABLE "journal" (
   "id" INTEGER PRIMARY KEY,
   "key" TEXT NOT NULL,
   "path" TEXT NOT NULL,
   "token" TEXT NOT NULL,
   "data" BLOB NOT NULL
);

CREATE UNIQUE INDEX "idx_journal_key_path"
    ON "journal" ("key", "path");

CREATE TABLE "log" (
   "id" INTEGER PRIMARY KEY,
   "blob" INTEGER NOT NULL REFERENCES "blob"("id"),
   "kind" TEXT NOT NULL,
   "tag" TEXT,
   "document" BLOB NOT NULL,
   "at" INTEGER NOT NULL
);

CREATE INDEX "idx_log_kind_id"
    ON "log" ("kind", "id");

CREATE INDEX "idx_log_tag_id"
    ON "log" ("tag", "id");

CREATE INDEX "idx_log_document"
    ON "log" ("document");

CREATE TABLE "log_node" (
   "level" INTEGER NOT NULL,
   "position" INTEGER NOT NULL,
   "hash" BLOB NOT NULL,
   PRIMARY KEY ("level", "position")
);

CREATE TABLE "run" (
   "id" INTEGER PRIMARY KEY,
   "run_id" TEXT NOT NULL,
   "started" INTEGER NOT NULL,
   "document" BLOB
);

CREATE UNIQUE INDEX "idx_run_run_id"
    ON "run" ("run_id");

CREATE TABLE "run_model" (
   "run" INTEGER NOT NULL REFERENCES "run"("id"),
   "position" INTEGER NOT NULL,
   "name" TEXT NOT NULL,
   "result" TEXT NOT NULL,
   "exit" INTEGER NOT NULL,
   "document" BLOB NOT NULL,
   PRIMARY KEY ("run", "position")
);

CREATE INDEX "idx_run_model_name_run"
    ON "run_model" ("name", "run");

CREATE TABLE "notified" (
   "channel" TEXT NOT NULL,
   "key" TEXT NOT NULL,
   "data" BLOB NOT NULL,
   PRIMARY KEY ("channel", "key")
);

INSERT INTO _sqlite_migrations(migration_set, name, applied_at)
    VALUES ('manifestd', 'm0001_blobs_snapshots_journal', CURRENT_TIMESTAMP);

INSERT INTO _sqlite_migrations(migration_set, name, applied_at)
    VALUES ('manifestd', 'm0002_history_log', CURRENT_TIMESTAMP);

INSERT INTO _sqlite_migrations(migration_set, name, applied_at)
    VALUES ('manifestd', 'm0003_runs', CURRENT_TIMESTAMP);

INSERT INTO _sqlite_migrations(migration_set, name, applied_at)
    VALUES ('manifestd', 'm0004_notified', CURRENT_TIMESTAMP);

INSERT INTO _sqlite_migrations(migration_set, name, applied_at)
    VALUES ('manifestd', 'm0005_log_kinds', CURRENT_TIMESTAMP);
