package verify

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExitStatusesTellWhatHappened(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(broken, []byte("no state"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		Command
		want int
	}{
		{"an empty directory", Command{Location: t.TempDir()}, exitFailed},
		{"no directory", Command{Location: filepath.Join(t.TempDir(), "none")}, exitUsage},
		{"another scheme", Command{Location: "ftp://results.example.org/"}, exitUsage},
		{"no key", Command{Location: t.TempDir(), Key: "nonsense"}, exitUsage},
		{"a damaged state", Command{Location: t.TempDir(), State: broken}, exitUsage},
		{"nobody answers", Command{Location: "http://127.0.0.1:1/"}, exitIncomplete},
	} {
		err := c.run(t.Context(), io.Discard, io.Discard)
		var coded interface{ ExitCode() int }
		if !errors.As(err, &coded) || coded.ExitCode() != c.want {
			t.Errorf("%s: %v, want exit status %d", c.name, err, c.want)
		}
	}
}

func TestTheReportIsForPeopleAndForPrograms(t *testing.T) {
	dir := t.TempDir()
	var people, programs bytes.Buffer
	_ = (&Command{Location: dir}).run(context.Background(), &people, io.Discard)
	_ = (&Command{Location: dir, JSON: true}).run(context.Background(), &programs, io.Discard)
	if !strings.Contains(people.String(), "NOT VERIFIED") {
		t.Errorf("people read\n%s", people.String())
	}
	if !strings.Contains(programs.String(), `"verdict": "failed"`) {
		t.Errorf("programs read\n%s", programs.String())
	}
}

func TestTimeLeftFollowsFromWhatThisRunRead(t *testing.T) {
	p := Progress{Leaves: 300, Of: 500, Resumed: 200, Elapsed: 10}
	if p.Left() != 20 {
		t.Errorf("%d left, want 20", p.Left())
	}
	if p.Leaves = 200; p.Left() != 0 {
		t.Error("time is left before anything was read")
	}
}
