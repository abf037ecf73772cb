package bucket_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tallystream/publish/bucket"
	"tallystream/publish/bucket/buckettest"
)

func open(t testing.TB, path string) *bucket.Directory {
	t.Helper()
	d, err := bucket.OpenDirectory(path)
	if err != nil {
		t.Fatalf("OpenDirectory: %v", err)
	}
	return d
}

func TestDirectoryIsABucket(t *testing.T) {
	t.Parallel()
	buckettest.Run(t, func(t *testing.T) buckettest.Opener {
		path := filepath.Join(t.TempDir(), "new", "bucket")
		return func(t *testing.T) buckettest.Bucket { return open(t, path) }
	})
}

// staged lists the files in the staging directory.
func staged(t *testing.T, path string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(path, ".staging", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestNothingStaysStaged(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	object := func(key, body string) bucket.Object { return bucket.Object{Key: key, Body: []byte(body)} }
	if err := d.PutNew(t.Context(), object("a", "1"), object("b/c", "2")); err != nil {
		t.Fatal(err)
	}
	if err := d.PutNew(t.Context(), object("a", "1"), object("d", "3"), object("d", "other")); !errors.Is(err, bucket.ErrDiffers) {
		t.Errorf("PutNew: %v, want ErrDiffers", err)
	}
	if err := d.Replace(t.Context(), object("a/b", "below an object")); err == nil {
		t.Error("Replace below an object succeeded")
	}
	if got := staged(t, path); len(got) != 0 {
		t.Errorf("staged: %v, want none", got)
	}
}

func TestOpeningSweepsWhatTheDeadLeft(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	before := time.Now().Add(-2 * time.Hour)
	for _, room := range []string{"room-old", "room-young"} {
		room = filepath.Join(path, ".staging", room)
		if err := os.Mkdir(room, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(room, "1"), []byte("part of an obj"), 0o644); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(room, "old") {
			if err := os.Chtimes(room, before, before); err != nil {
				t.Fatal(err)
			}
		}
	}
	open(t, path)
	if got := staged(t, path); len(got) != 1 || filepath.Base(filepath.Dir(got[0])) != "room-young" {
		t.Errorf("staged: %v, want only the one that may have a living writer", got)
	}
	if err := d.PutNew(t.Context(), bucket.Object{Key: "a"}); err != nil {
		t.Errorf("PutNew: %v", err)
	}
}

func TestWriterOutlivesASweep(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	for _, key := range []string{"a", "b"} {
		if err := d.PutNew(t.Context(), bucket.Object{Key: key}); err != nil {
			t.Fatalf("PutNew: %v", err)
		}
		rooms, err := filepath.Glob(filepath.Join(path, ".staging", "*"))
		if err != nil || len(rooms) == 0 {
			t.Fatalf("rooms: %v, %v", rooms, err)
		}
		for _, room := range rooms {
			if err := os.RemoveAll(room); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestEmptyRoomsDoNotPileUp(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	objects := make([]bucket.Object, 1500)
	for i := range objects {
		objects[i].Key = fmt.Sprint("page/", i)
	}
	for range 8 {
		if err := d.Replace(t.Context(), objects...); err != nil {
			t.Fatal(err)
		}
	}
	rooms, err := filepath.Glob(filepath.Join(path, ".staging", "*"))
	if err != nil || len(rooms) > 2 {
		t.Errorf("%d rooms, %v", len(rooms), err)
	}
}

func TestFailedWriteLeavesNoObject(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	if err := os.RemoveAll(filepath.Join(path, ".staging")); err != nil {
		t.Fatal(err)
	}
	if err := d.PutNew(t.Context(), bucket.Object{Key: "a", Body: []byte("x")}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("PutNew: %v, want what the file system said", err)
	}
	if _, err := d.Get(t.Context(), "a"); !errors.Is(err, bucket.ErrNotFound) {
		t.Errorf("Get: %v, want ErrNotFound", err)
	}
}

// A valid key is what fs.ValidPath allows, and stricter.
func TestValidKeysAreValidPaths(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a./\\~-]{0,12}`)).Draw(t, "key")
		if bucket.ValidKey(key) && (!fs.ValidPath(key) || !filepath.IsLocal(key) || filepath.ToSlash(filepath.Clean(key)) != key) {
			t.Errorf("key %q is valid, but as a path it is not, or has another spelling", key)
		}
	})
}

func FuzzValidKey(f *testing.F) {
	for _, seed := range []string{"latest", "documents/ab/abcd.ndjson", "../x", "a//b", ".staging/x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if bucket.ValidKey(key) && (!fs.ValidPath(key) || !filepath.IsLocal(key)) {
			t.Errorf("key %q is valid, but as a path it is not", key)
		}
	})
}

func TestFormOfAKeySaysWhetherItsObjectIsWrittenOnce(t *testing.T) {
	hash := "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for key, want := range map[string]bool{
		"documents/01/" + hash + ".ndjson": true,
		"units/01/" + hash + ".ndjson":     true,
		"units/02/" + hash + ".ndjson":     false,
		"units/01/" + hash[:63] + "g":      false,
		hash:                               false,
		"snapshots/000000012":              true,
		"csv/leon-000000012.csv":           true,
		"latest":                           false,
		"definition.json":                  false,
		"index.html":                       false,
		"contest/president/index.html":     false,
	} {
		if got := bucket.WrittenOnce(key); got != want {
			t.Errorf("WrittenOnce(%q) = %v, want %v", key, got, want)
		}
	}
}
