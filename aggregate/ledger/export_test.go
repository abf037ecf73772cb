package ledger

import (
	"strconv"
	"testing"

	"zombiezen.com/go/sqlite"
)

// SetFileVersion makes the file at path claim a version of its tables.
func SetFileVersion(t *testing.T, path string, version int) {
	t.Helper()
	c, err := sqlite.OpenConn(path, sqlite.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := pragmas(c, "user_version="+strconv.Itoa(version)); err != nil {
		t.Fatal(err)
	}
}
