package audit_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tallystream/publish/audit"
	"tallystream/service"
)

// An auditor is given a copy of the data without keys, and the public key.
func TestAnAuditorNeedsNoPrivateKey(t *testing.T) {
	n := aNight(t, "county")
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(n.data.Dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(copied, "keys")); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(n.bucket, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var config struct{ Key string }
	if err := json.Unmarshal(b, &config); err != nil || config.Key == "" {
		t.Fatalf("config.json: %v", err)
	}
	c := audit.Command{Options: service.Options{Data: copied, Stores: service.Embedded}, Bucket: n.bucket, Final: true}
	if _, err := command(t, c); err == nil || !strings.Contains(err.Error(), "give --key") {
		t.Errorf("without a key at all: %v", err)
	}
	c.Key = config.Key
	if r, err := command(t, c); err != nil || r.Entries == 0 || r.Found != 0 {
		t.Errorf("with the public key alone: %v, %+v", err, r)
	}
}
