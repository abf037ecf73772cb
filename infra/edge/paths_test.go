package edge

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tallystream/publish/bucket"
	"tallystream/publish/log"
	"tallystream/schemas"
)

// publishedKeys draws keys as the publisher makes them, through its own functions
// where they are exported.
func publishedKeys() *rapid.Generator[string] {
	return rapid.Custom(func(r *rapid.T) string {
		digest := schemas.DigestOf(rapid.SliceOf(rapid.Byte()).Draw(r, "content"))
		id := rapid.StringMatching(`[a-z0-9][a-z0-9._-]{0,95}`).Draw(r, "identifier")
		number := schemas.SnapshotNumber(rapid.Int64Range(1, 1<<40).Draw(r, "number"))
		epoch := rapid.StringMatching(`[1-9][0-9]{0,8}`).Draw(r, "epoch")
		snapshot := strings.TrimPrefix(schemas.SnapshotKey(number), "snapshots/")
		return rapid.SampledFrom([]string{
			schemas.LatestKey, schemas.DefinitionKey, schemas.RosterKey, log.CheckpointKey, "config.json", "index.html", "contests.html", "corrections.html", "holds.html", schemas.PauseKey,
			"county/" + id + ".html", "contest/" + id + ".html", "state/" + id + ".html",
			schemas.ContentKey("documents", digest, ".ndjson"), schemas.ContentKey("units", digest, ".ndjson"), schemas.ContentKey("manifests", digest, ".ndjson"),
			schemas.ContentKey("corrections", digest, ".ndjson"), schemas.ContentKey("holds", digest, ".ndjson"), schemas.ContentKey("remainders", digest, ".ndjson"),
			schemas.ContentKey("rosters", digest, ".json"), schemas.ContentKey("assets", digest, ".css"), schemas.ContentKey("assets", digest, ".js"),
			schemas.SnapshotKey(number), "csv/" + snapshot + "-" + epoch + "/" + id + ".csv", "cdf/" + snapshot + "-" + epoch + ".json.gz", "cdf/" + snapshot + "-" + epoch + "/" + id + ".json.gz",
			log.Tile{Level: rapid.IntRange(-1, 7).Draw(r, "level"), N: rapid.Int64Range(0, 1<<40).Draw(r, "n"), Width: rapid.IntRange(1, log.TileWidth).Draw(r, "width")}.Key(),
		}).Draw(r, "key")
	})
}

func TestEveryKeyThatThePublisherWritesIsAllowed(t *testing.T) {
	s := newSandbox(t, Results)
	rapid.Check(t, func(r *rapid.T) {
		key := publishedKeys().Draw(r, "published")
		got, err := s.run(request{Method: "GET", Path: "/" + key})
		if err != nil || got.URI != "/"+key {
			r.Fatalf("%s: %+v, %v", key, got, err)
		}
	})
}

// spoil changes a key a little: what scanners and broken links look like.
func spoil(r *rapid.T, key string) string {
	at := rapid.IntRange(0, len(key)).Draw(r, "at")
	piece := rapid.SampledFrom([]string{"/", "//", ".", "..", "/../", "%2f", "%00", "?", "#", " ", "\\", "x", "0", "A", "\n", "é", ";", ".p/", "~"}).Draw(r, "piece")
	return key[:at] + piece + key[min(len(key), at+rapid.IntRange(0, 2).Draw(r, "instead of")):]
}

func TestNothingButAKeyPassesAndInOneSpelling(t *testing.T) {
	s := newSandbox(t, Results)
	rapid.Check(t, func(r *rapid.T) {
		key := publishedKeys().Draw(r, "published")
		for range rapid.IntRange(1, 3).Draw(r, "changes") {
			key = spoil(r, key)
		}
		holds(r, s, "/"+key)
	})
}

func FuzzPaths(f *testing.F) {
	for _, c := range readCases(f) {
		f.Add(c.Path)
	}
	s := newSandbox(f, Results)
	f.Fuzz(func(t *testing.T, path string) {
		s.t = t
		holds(t, s, path)
	})
}

// holds says that an answer to a path is one of: a refusal, the front page, or a
// valid key of the bucket in its only spelling, reached by dropping query and
// doubled slashes alone. What is written once is never reached from a path that
// looks like something else, nor the other way round: CloudFront chose how long to
// keep it by the path as it was sent.
func holds(t rapid.TB, s *sandbox, path string) {
	t.Helper()
	got, err := s.run(request{Method: "GET", Path: path})
	if err != nil {
		t.Fatalf("%q: %v", path, err)
	}
	if got.Status == 404 {
		return
	}
	bare, _, _ := strings.Cut(path, "?")
	key := strings.TrimPrefix(got.URI, "/")
	if got.Status != 0 || !bucket.ValidKey(key) {
		t.Fatalf("%q: %+v", path, got)
	}
	single := bare
	for strings.Contains(single, "//") {
		single = strings.ReplaceAll(single, "//", "/")
	}
	if single != got.URI && (single != "/" || got.URI != "/index.html") {
		t.Fatalf("%q becomes %q", path, got.URI)
	}
	if strings.HasPrefix(key, "tile/") {
		if _, err := log.ParseTile(key); err != nil && !strings.HasPrefix(key, "tile/entries/x000") && !strings.Contains(key, "/x000/") {
			t.Fatalf("%q: %v", path, err)
		}
	}
	if first, _, _ := strings.Cut(strings.TrimPrefix(bare, "/"), "/"); bare != "" && first != "" && !strings.HasPrefix(key, first) {
		t.Fatalf("%q was kept as %q and is %q", path, first, key)
	}
	again, err := s.run(request{Method: "GET", Path: got.URI})
	if err != nil || again.URI != got.URI {
		t.Fatalf("%q becomes %q, and that %+v, %v", path, got.URI, again, err)
	}
}
