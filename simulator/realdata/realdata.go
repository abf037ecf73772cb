// Package realdata lets tests read real results by themselves.
//
// Invariant: nothing of the pipeline or of its importers is used here, so that
// what a test reads is a truth to hold them against.
package realdata

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Path is a file or a folder of the data of others, which lie beside the
// checkout and are not part of it. Without it the test is skipped, and says so.
func Path(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(checkout(t), "..", "shared", "data", filepath.FromSlash(name))
	if _, err := os.Stat(path); err != nil {
		t.Skipf("skipped: real results are not on this machine: %v", err)
	}
	return path
}

// checkout is the folder of the module that is tested.
func checkout(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		above := filepath.Dir(dir)
		if above == dir {
			t.Fatal("no go.mod above the working directory")
		}
		dir = above
	}
}

// Table reads a CSV, plain or gzip, into rows by column name.
func Table(t testing.TB, path string) []map[string]string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var r io.Reader = bytes.NewReader(b)
	if strings.HasSuffix(path, ".gz") {
		if r, err = gzip.NewReader(r); err != nil {
			t.Fatal(err)
		}
	}
	records, err := csv.NewReader(r).ReadAll()
	if err != nil || len(records) == 0 {
		t.Fatalf("reading %s: %d records: %v", path, len(records), err)
	}
	out := make([]map[string]string, 0, len(records)-1)
	for _, record := range records[1:] {
		row := make(map[string]string, len(record))
		for i, v := range record {
			row[records[0][i]] = v
		}
		out = append(out, row)
	}
	return out
}
