package timeseries_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// bucket reads what is published as plain files of JSON.
type bucket struct {
	t   testing.TB
	dir string
}

func (b bucket) file(key string) []byte {
	b.t.Helper()
	raw, err := os.ReadFile(filepath.Join(b.dir, filepath.FromSlash(key)))
	if err != nil {
		b.t.Fatal(err)
	}
	return raw
}

// named is a file that snapshot n names.
func (b bucket) named(n uint64, name string) []byte {
	b.t.Helper()
	_, rest, _ := strings.Cut(string(b.file(fmt.Sprintf("snapshots/%09d", n))), "\nmanifest ")
	hash, _, _ := strings.Cut(rest, "\n")
	for _, line := range b.lines(b.file("manifests/" + hash[:2] + "/" + hash + ".ndjson")) {
		if line["name"] == name {
			return b.file(line["key"].(string))
		}
	}
	b.t.Fatalf("snapshot %d names no %s", n, name)
	return nil
}

func (b bucket) lines(raw []byte) (out []map[string]any) {
	b.t.Helper()
	for line := range bytes.Lines(raw) {
		m := map[string]any{}
		if err := json.Unmarshal(line, &m); err != nil {
			b.t.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}

// totals are the votes of a place in a document of snapshot n.
func (b bucket) totals(n uint64, document, place string) tally {
	b.t.Helper()
	for _, line := range b.lines(b.named(n, document)) {
		if line["contest"] != "president" || line["unit"] != place {
			continue
		}
		out := tally{}
		for name, counts := range line["votes"].(map[string]any) {
			for i, n := range counts.([]any) {
				out[[2]string{voteTypes[i], name}] = int64(n.(float64))
			}
		}
		return out
	}
	b.t.Fatalf("%s has no line of %s", document, place)
	return nil
}
