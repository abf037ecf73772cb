package holds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"tallystream/schemas"
)

// Command is `tallystream holds`.
type Command struct {
	List    ListCommand    `cmd:"" help:"Show what is held, as published: open holds first."`
	Release ReleaseCommand `cmd:"" help:"Let a held submission count: sign as two supervisors, and send."`
	Sign    SignCommand    `cmd:"" help:"Sign a release as the first supervisor, into a file."`
	Cosign  CosignCommand  `cmd:"" help:"Add the second supervisor's signature to the file."`
	Send    SendCommand    `cmd:"" help:"Send a release that two supervisors signed."`
}

// Help is the longer text of --help.
func (Command) Help() string {
	return `A hold is a submission that was received and does not count, for a reason that is published with it. Two different supervisors of its county may let it
count. Everything shown comes from a signed snapshot, and the numbers from the public log with their proof; where a unit's numbers are hidden from the public,
from the file that its office kept (--submission).

Exit status: 0 done, 1 refused, 2 cannot be done at all (usage, files, keys, a hold that is not there), 3 gave up: it may be stored or not, so send it again,
4 received, but not released, or not known to be.

Examples:
  tallystream holds list --site https://results.example.org/ --county leon
  tallystream holds release leon-1101 3 --key-file ann.key --key-file bob.key --reason checked --text 'Held against the poll tapes.' --wait
Two people on two machines:
  tallystream holds sign leon-1101 3 --key-file ann.key --reason checked --text 'Held against the poll tapes.' --out 1101.release
  tallystream holds cosign 1101.release --key-file bob.key
  tallystream holds send 1101.release --wait`
}

// Exit statuses beside 0.
const (
	exitRefused    = 1
	exitUsage      = 2
	exitGaveUp     = 3
	exitUnreleased = 4
)

// exit is an error with an exit status of its own.
type exit struct {
	error
	status int
}

func (e exit) Unwrap() error { return e.error }

// ExitCode is that of the command.
func (e exit) ExitCode() int { return e.status }

// siteFlags say where the results are published.
type siteFlags struct {
	Site   string `help:"What is published: its URL, or the directory of the bucket." required:"" placeholder:"URL|DIR" env:"TALLYSTREAM_RESULTS_URL"`
	LogKey string `help:"Verifier key of the results. Default: what the site says it is." env:"TALLYSTREAM_LOG_KEY" placeholder:"NAME+HASH+KEY"`
}

func (f *siteFlags) open(ctx context.Context, stderr io.Writer) (*site, error) {
	s, err := openSite(ctx, f.Site, f.LogKey, func(key string) {
		fmt.Fprintf(stderr, "What is published is checked with the key that the site names: %s\n", key)
	})
	if err != nil {
		return nil, exit{fmt.Errorf("reading what is published: %w", err), exitUsage}
	}
	return s, nil
}

// terminal is where a command reads and writes.
type terminal struct {
	in       io.Reader
	out, err io.Writer
}

func standard() *terminal { return &terminal{os.Stdin, os.Stdout, os.Stderr} }

// statementFlags bring what the public must not see.
type statementFlags struct {
	Submission string `help:"The submission that is held, as its office kept it: where the unit's numbers are hidden from the public." type:"path" placeholder:"FILE"`
}

// pick names one hold.
type pick struct {
	Unit     string `arg:"" help:"The reporting unit."`
	Revision uint32 `arg:"" help:"The revision that is held."`
	Digest   string `name:"sha256" help:"Beginning of the body's SHA-256, where several submissions of that revision are held." placeholder:"HEX"`
}

// find looks for the open hold that is meant. Those of a hidden unit have no hash:
// which of them it is, the ledger knows.
func (p *pick) find(all []schemas.HeldEntry) (*schemas.HeldEntry, error) {
	var found, closed []*schemas.HeldEntry
	for i := range all {
		h := &all[i]
		if string(h.Unit) != p.Unit || uint64(h.Revision) != uint64(p.Revision) || !p.names(h) || !h.Code.Releasable() {
			continue
		}
		if h.State == schemas.HoldOpen {
			found = append(found, h)
		} else {
			closed = append(closed, h)
		}
	}
	switch {
	case len(found) == 1 || len(found) > 1 && hidden(found[0]):
		return found[0], nil
	case len(found) > 1:
		return nil, fmt.Errorf("%d submissions of %s revision %d are held: give --sha256 to choose one of %s", len(found), p.Unit, p.Revision, digests(found))
	case len(closed) > 0:
		return nil, fmt.Errorf("%s revision %d is not held any more: it is %s", p.Unit, p.Revision, closed[0].State)
	}
	return nil, fmt.Errorf("nothing of %s revision %d is held that could be released (holds list --all shows what is)", p.Unit, p.Revision)
}

func (p *pick) names(h *schemas.HeldEntry) bool {
	return hidden(h) || strings.HasPrefix(h.Digest.String(), strings.ToLower(p.Digest))
}

// hidden: the hold is of a unit whose numbers are not published, nor their hash.
func hidden(h *schemas.HeldEntry) bool { return h.Digest.IsZero() }

func digests(holds []*schemas.HeldEntry) string {
	var out []string
	for _, h := range holds {
		out = append(out, h.Digest.String()[:12])
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

var errNotConfirmed = errors.New("not confirmed: nothing was signed or sent")

// confirm asks before something is signed or sent.
func (t *terminal) confirm(yes bool, question string) error {
	if yes {
		return nil
	}
	fmt.Fprintf(t.err, "%s [y/N] ", question)
	var answer string
	_, _ = fmt.Fscanln(t.in, &answer) // an end of input is no
	if answer = strings.ToLower(answer); answer != "y" && answer != "yes" {
		return exit{errNotConfirmed, exitUsage}
	}
	return nil
}
