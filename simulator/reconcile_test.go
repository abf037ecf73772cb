package simulator

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"tallystream/publish/bucket"
	"tallystream/schemas"
	"tallystream/simulator/elections"
)

// changed is a bucket in which some objects read otherwise.
type changed struct {
	*bucket.Directory
	edit func(key string, body []byte) []byte
}

func (c changed) Get(ctx context.Context, key string) ([]byte, error) {
	b, err := c.Directory.Get(ctx, key)
	if err == nil {
		b = c.edit(key, bytes.Clone(b))
	}
	return b, err
}

// verifierOf reads the key that the pages name.
func verifierOf(t *testing.T, dir string) note.Verifier {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var config struct{ Key string }
	if err := json.Unmarshal(b, &config); err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(config.Key)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestReconciliationFindsWhateverIsChanged shows that a rehearsal can fail.
func TestReconciliationFindsWhateverIsChanged(t *testing.T) {
	_, dir := rehearse(t, electionFlags{Generate: "county", Seed: 3, Revisions: 2, Released: 0.5}, 3)
	truth, err := elections.Generate(elections.CountyKind, 3)
	if err != nil {
		t.Fatal(err)
	}
	directory, err := bucket.OpenDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	verifier, expected := verifierOf(t, dir), expectFromTruth(truth)
	one := func(key string, part string, old, new string) func(string, []byte) []byte {
		return func(k string, b []byte) []byte {
			if strings.HasPrefix(k, key) && strings.Contains(k, part) {
				return bytes.Replace(b, []byte(old), []byte(new), 1)
			}
			return b
		}
	}
	for _, c := range []struct {
		name     string
		edit     func(string, []byte) []byte
		expected Expected
		want     string // in some mismatch; empty: none
	}{
		{"nothing", one("none", "", "", ""), expected, ""},
		{"a digit more in the CSV", one("csv/", "", "\n", "0\n"), expected, "want the header"},
		{"a row more in the CSV", func(k string, b []byte) []byte {
			if strings.HasPrefix(k, "csv/") && !strings.HasSuffix(k, "results.csv") {
				last := bytes.LastIndexByte(b[:len(b)-1], '\n')
				return append(b, b[last+1:]...)
			}
			return b
		}, expected, "does not have the hash"},
		{"a document's digit", one("documents/", "", `":[`, `":[1`), expected, "does not have the hash"},
		{"a truth of one vote more", one("none", "", "", ""), func(c schemas.CountyIndex) map[Cell]int64 {
			out := expected(c)
			for cell := range out {
				if cell.Contest == "president" {
					out[cell]++
					break
				}
			}
			return out
		}, "president"},
		{"an older snapshot for a newer", func(k string, b []byte) []byte {
			if k == schemas.SnapshotKey(2) {
				b, _ = os.ReadFile(filepath.Join(dir, filepath.FromSlash(schemas.SnapshotKey(1))))
			}
			return b
		}, expected, "snapshot 2 is not the one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Reconcile(t.Context(), truth.Election(), changed{directory, c.edit}, verifier, c.expected)
			found := ""
			if err != nil {
				found = err.Error()
			} else {
				found = strings.Join(r.Mismatches, "\n")
			}
			if c.want == "" && found != "" || !strings.Contains(found, c.want) {
				t.Errorf("found %q, want %q", found, c.want)
			}
		})
	}
}
