package verify_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"

	"tallystream/publish"
	"tallystream/publish/log/authority"
	"tallystream/publish/verify"
	"tallystream/schemas"
	"tallystream/service"
)

// desk is where somebody runs `tallystream keys ...`.
type desk struct {
	*stage
	dir string
}

func openDesk(x *stage) *desk {
	d := &desk{x, x.t.TempDir()}
	if err := (service.Data{Dir: d.path("data")}).Create(x.bytes, roster()); err != nil {
		x.t.Fatal(err)
	}
	for _, name := range append([]string{"stranger"}, rootNames...) {
		d.write(name, privateOf(name))
	}
	return d
}

func (d *desk) path(name string) string { return filepath.Join(d.dir, name) }

func (d *desk) write(name, text string) {
	if err := os.WriteFile(d.path(name), []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// run runs a command line, whose words that begin with @ are files here.
func (d *desk) run(line string) error {
	d.t.Helper()
	var keys struct {
		Change publish.KeysChangeCommand `cmd:""`
		Sign   publish.KeysSignCommand   `cmd:""`
		Submit publish.KeysSubmitCommand `cmd:""`
	}
	words := strings.Fields(line)
	for i, w := range words {
		if name, ok := strings.CutPrefix(w, "@"); ok {
			words[i] = d.path(name)
		}
	}
	if words[0] == "submit" {
		words = append(words, "--data", d.path("data"))
	}
	parser, err := kong.New(&keys)
	if err != nil {
		d.t.Fatal(err)
	}
	cmd, err := parser.Parse(words)
	if err != nil {
		return err
	}
	open := func(context.Context, service.Options, string, *service.Opened, prometheus.Registerer, *slog.Logger) (*publish.Stores, error) {
		return &publish.Stores{Register: d.store, Bucket: d.store, Close: func() error { return nil }}, nil
	}
	cmd.BindTo(d.t.Context(), (*context.Context)(nil))
	cmd.Bind(slog.New(slog.DiscardHandler), publish.OpenPublication(open), publish.CommandPath(cmd.Command()))
	return cmd.Run()
}

func (d *desk) must(lines ...string) {
	d.t.Helper()
	for _, line := range lines {
		if err := d.run(line); err != nil {
			d.t.Fatalf("%s: %v", line, err)
		}
	}
}

// refused wants a command to fail and say so, and the program to end with a
// status.
func (d *desk) refused(line, says string, is error, status int) {
	d.t.Helper()
	err := d.run(line)
	if err == nil || !strings.Contains(err.Error(), says) || is != nil && !errors.Is(err, is) {
		d.t.Errorf("%s: %v, want %q", line, err, says)
	}
	got := 1
	if coded, ok := errors.AsType[interface {
		error
		ExitCode() int
	}](err); ok {
		got = coded.ExitCode()
	}
	if got != status {
		d.t.Errorf("%s: status %d, want %d", line, got, status)
	}
}

// TestTheKeysCommandsChangeWhatEnoughRootsSigned: and nothing else, whatever is
// handed in before.
func TestTheKeysCommandsChangeWhatEnoughRootsSigned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := open(t, rooted)
		x.count("oak.1", 1, "official.oak")
		d := openDesk(x)
		next := rosterWith("official.oak/2")
		d.write("next.json", string(next))
		d.write("other.json", string(rosterWith("official.oak/3")))
		of := " --origin " + origin

		d.must("change roster @next.json --number 1 --out @foreign --origin results.example/other", "sign @foreign --key @root.1", "sign @foreign --key @root.2")
		d.refused("submit @foreign --roster @next.json", `the statement is of "results.example/other", want "`+origin, nil, 1)
		d.must("change roster @next.json --number 2 --out @early"+of, "sign @early --key @root.1", "sign @early --key @root.2")
		d.refused("submit @early --roster @next.json", "number 2, want 1", authority.ErrOrder, 1)

		d.must("change roster @next.json --number 1 --out @change" + of)
		d.refused("change roster @other.json --number 1 --out @change"+of, "file exists", nil, 1)
		d.refused("submit @change --roster @next.json", "want a signed statement", nil, 1)
		d.must("sign @change --key @root.1")
		d.refused("submit @change --roster @next.json", "too few root keys signed: 1, want 2 of 3", authority.ErrThreshold, 1)
		d.refused("sign @change --key @root.1", "root.1 has signed it already", nil, 1)
		d.must("sign @change --key @stranger")
		d.refused("submit @change --roster @next.json", "too few root keys signed: 1, want 2 of 3", authority.ErrThreshold, 1)
		if waits, _ := x.store.Load(t.Context(), "publication-change"); waits != nil {
			t.Error("what was refused was left for whoever publishes")
		}
		d.must("sign @change --key @root.3")
		d.refused("submit @change", "give that file", nil, 1)
		d.refused("submit @change --roster @other.json", "give that file", nil, 1)
		d.must("submit @change --roster @next.json")
		if got := string(x.store.copy()[schemas.RosterKey]); got != string(next) {
			t.Errorf("the roster in force is\n%s", got)
		}
		d.refused("submit @change --roster @next.json", "number 1, want 2", authority.ErrOrder, 1)

		d.refused("change add "+keyOf("official.oak/3")+" --role roster --number 2 --out @added"+of, "keys change roster", nil, 1)
		d.must("change revoke "+keyOf("official.fir")+" --role roster --number 2 --out @revoked"+of, "sign @revoked --key @root.2", "sign @revoked --key @root.1", "submit @revoked")
		if keys := x.keys(); x.mayAtIngest(keys, "official.fir") || x.mayAtIngest(keys, "official.oak") || !x.mayAtIngest(keys, "official.oak/2") {
			t.Error("ingest takes other keys than those in force")
		}
		x.count("oak.1", 2, "official.oak/2")
		if r, _ := check(t, verify.Options{Source: x.close(), All: true}); r.Verdict != verify.Verified || r.Counted != 2 {
			t.Error(print(r))
		}

		// Nobody publishes: the change stays asked for, and another of its number waits in vain.
		d.must("change revoke "+keyOf("official.ash")+" --role roster --number 3 --out @third"+of, "sign @third --key @root.2", "sign @third --key @root.1")
		d.refused("submit @third --wait 5s", "not in the log yet", context.DeadlineExceeded, 3)
		d.must("change revoke "+keyOf("supervisor.1")+" --role roster --number 3 --out @rival"+of, "sign @rival --key @root.2", "sign @rival --key @root.1")
		d.refused("submit @rival", "another change of number 3 waits already", nil, 1)
		x.start(rooted)
		time.Sleep(time.Minute)
		if x.mayAtIngest(x.keys(), "official.ash") {
			t.Error("the next publisher does not find what was asked for")
		}
		x.close()
	})
}
