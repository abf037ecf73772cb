package publish

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"

	"tallystream/publish/log"
	"tallystream/publish/log/leaf"
	"tallystream/schemas"
	"tallystream/service"
	"tallystream/service/register"
)

// RootsFile is the file of --roots: the offline keys of which so many must sign
// each change of roster and keys.
type RootsFile struct {
	Threshold int      `json:"threshold"`
	Roots     []string `json:"roots"` // name+hash+key
}

// ReadRoots reads such a file.
func ReadRoots(path string) (*RootsFile, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the root keys: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var f RootsFile
	if err := d.Decode(&f); err != nil {
		return nil, fmt.Errorf("reading the root keys from %s: %w (want {\"threshold\":2,\"roots\":[...]})", path, err)
	}
	if f.Threshold < 1 || f.Threshold > len(f.Roots) {
		return nil, fmt.Errorf("reading the root keys from %s: threshold %d of %d keys, want 1 to all of them", path, f.Threshold, len(f.Roots))
	}
	for _, key := range f.Roots {
		if _, err := schemas.ParseVerifierKey(key); err != nil {
			return nil, fmt.Errorf("reading the root keys from %s: %w", path, err)
		}
	}
	return &f, nil
}

// KeysChangeCommand is `tallystream keys change`: it writes what root keys are
// to sign, on any machine.
type KeysChangeCommand struct {
	Roster KeysChangeRoster `cmd:"" help:"Put another roster in force."`
	Add    KeysChangeKey    `cmd:"" help:"Let another key of the publisher or of ingest sign."`
	Revoke KeysChangeKey    `cmd:"" help:"Let a key sign no more. Keys of role roster are those of officials and supervisors."`
	Roots  KeysChangeRoots  `cmd:"" help:"Replace the root keys. A threshold of the old ones and of the new ones must sign."`
}

// changeFlags are those of every change.
type changeFlags struct {
	Origin string `help:"Origin of the election, as in its definition." required:""`
	Number uint64 `help:"Number of the change: one more than the last one that took effect; the first is 1." required:""`
	Out    string `help:"New file for the text to sign." required:"" type:"path"`
}

func (f *changeFlags) write(s *leaf.Statement) error {
	out, err := os.OpenFile(f.Out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("writing the change: %w", err)
	}
	_, err = out.Write(s.AppendText(nil))
	return errors.Join(err, out.Close())
}

// KeysChangeRoster is `tallystream keys change roster`.
type KeysChangeRoster struct {
	changeFlags
	Roster string `arg:"" help:"File with the new roster." type:"path"`
}

// Run writes the text.
func (c *KeysChangeRoster) Run() error {
	b, err := os.ReadFile(c.Roster)
	if err != nil {
		return fmt.Errorf("reading the roster: %w", err)
	}
	s := leaf.NewStatement(leaf.KindRoster, c.Origin, c.Number)
	s.File = fileOf(b)
	return c.write(s)
}

// KeysChangeKey is `tallystream keys change add` and `revoke`.
type KeysChangeKey struct {
	changeFlags
	Role string `help:"log, snapshot, receipt, or to revoke roster." required:"" enum:"log,snapshot,receipt,roster"`
	Key  string `arg:"" help:"Verifier key (name+hash+key)."`
}

// Run writes the text; kong says which of the two it is by the command's name.
func (c *KeysChangeKey) Run(path CommandPath) error {
	change := leaf.AddKey
	if strings.Contains(string(path), "revoke") {
		change = leaf.RevokeKey
	}
	if change == leaf.AddKey && c.Role == string(leaf.RosterKey) {
		return errors.New("a key is added to the roster by a new roster: keys change roster")
	}
	if _, err := schemas.ParseVerifierKey(c.Key); err != nil {
		return err
	}
	s := leaf.NewStatement(leaf.KindKey, c.Origin, c.Number)
	s.Change, s.Key = change, leaf.RoleKey{Role: leaf.KeyRole(c.Role), Key: c.Key}
	return c.write(s)
}

// CommandPath is the command as it was called, such as "keys change add <key>".
type CommandPath string

// KeysChangeRoots is `tallystream keys change roots`.
type KeysChangeRoots struct {
	changeFlags
	File string `arg:"" help:"File as for --roots." type:"path"`
}

// Run writes the text.
func (c *KeysChangeRoots) Run() error {
	f, err := ReadRoots(c.File)
	if err != nil {
		return err
	}
	s := leaf.NewStatement(leaf.KindRoots, c.Origin, c.Number)
	s.Threshold, s.Roots = f.Threshold, f.Roots
	return c.write(s)
}

// KeysSignCommand is `tallystream keys sign`: where a root key lies, which is
// nowhere near the others.
type KeysSignCommand struct {
	File string `arg:"" help:"File of keys change, to which the signature is added." type:"path"`
	Key  string `help:"Private root key file." required:"" type:"path"`
}

// Run shows what is signed, and signs it.
func (c *KeysSignCommand) Run() error { return c.run(os.Stdout) }

func (c *KeysSignCommand) run(stdout io.Writer) error {
	b, err := os.ReadFile(c.File)
	if err != nil {
		return fmt.Errorf("reading the change: %w", err)
	}
	private, err := os.ReadFile(c.Key)
	if err != nil {
		return fmt.Errorf("reading the key: %w", err)
	}
	signer, verifier, err := schemas.OpenPrivateKey(string(private))
	if err != nil {
		return fmt.Errorf("reading the key from %s: %w", c.Key, err)
	}
	signed, text, err := addSignature(b, signer, verifier)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	if err := os.WriteFile(c.File, signed, 0o644); err != nil {
		return fmt.Errorf("writing the change: %w", err)
	}
	_, err = fmt.Fprintf(stdout, "%s\nsigned as %s\n", text, signer.Name())
	return err
}

// addSignature signs the text of a change, or adds a signature to its note.
func addSignature(b []byte, signer note.Signer, verifier string) (signed, text []byte, err error) {
	n, err := log.ParseNote(b)
	if err != nil {
		n = &log.Note{Text: b} // nobody has signed it yet
	}
	v, err := note.NewVerifier(verifier)
	if err != nil {
		return nil, nil, err
	}
	if already, err := n.SignedBy(v); err != nil {
		return nil, nil, err
	} else if already {
		return nil, nil, fmt.Errorf("%s has signed it already", signer.Name())
	}
	one, err := log.Sign(n.Text, signer)
	if err != nil {
		return nil, nil, err
	}
	own, err := log.ParseNote(one)
	if err != nil {
		return nil, nil, err
	}
	n.Signatures = append(n.Signatures, own.Signatures...)
	signed = n.Append(nil)
	if _, err := openStatement(signed); err != nil {
		return nil, nil, err
	}
	return signed, n.Text, nil
}

// OpenPublication opens register and bucket; main.go binds it to publish/stores.
type OpenPublication func(ctx context.Context, o service.Options, bucket string, opened *service.Opened, registry prometheus.Registerer, log *slog.Logger) (*Stores, error)

// KeysSubmitCommand is `tallystream keys submit`.
type KeysSubmitCommand struct {
	Access `embed:""`
	Bucket string        `help:"Directory that is published; with --stores aws it is in S3." type:"path" default:"public" env:"TALLYSTREAM_BUCKET"`
	File   string        `arg:"" help:"File of keys change, with enough signatures." type:"path"`
	Roster string        `help:"The new roster, where the change is of that." type:"path"`
	Wait   time.Duration `help:"How long to wait until it is in the log; 0 leaves that to whoever publishes." default:"5m"`
}

// Help is shown below the usage.
func (KeysSubmitCommand) Help() string {
	return `The change is checked against the published log before anything is left for whoever publishes; what too few root keys signed, or what is of
another election or number, is refused. From then on ingest takes only keys that may sign before and behind the change.

Exit status: 0 the change is in force and published, 1 refused or failed, 3 not in the log when the wait was over: it stays asked for.`
}

// Run checks the change against the log, and leaves it for whoever publishes.
func (c *KeysSubmitCommand) Run(ctx context.Context, slog *slog.Logger, open OpenPublication) (err error) {
	signed, err := os.ReadFile(c.File)
	if err != nil {
		return fmt.Errorf("reading the change: %w", err)
	}
	var roster []byte
	if c.Roster != "" {
		if roster, err = os.ReadFile(c.Roster); err != nil {
			return fmt.Errorf("reading the roster: %w", err)
		}
	}
	opened, err := service.Data{Dir: c.Data}.Open()
	if err != nil {
		return err
	}
	stores, err := open(ctx, service.Options{Data: c.Data, Stores: c.Stores, Cloud: c.Cloud}, c.Bucket, opened, prometheus.NewRegistry(), slog)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stores.Close()) }()
	q := &ChangeRequest{Register: stores.Register, Bucket: stores.Bucket, Election: opened.Election, Note: signed, Roster: roster}
	if err := q.Send(ctx); err != nil || c.Wait <= 0 {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, c.Wait)
	defer cancel()
	index, err := q.Await(waiting, sleep)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(os.Stdout, "in force behind leaf %d\n", index)
	return err
}

// notYetError: nobody has published it while somebody waited.
type notYetError struct{ err error }

func (e *notYetError) Error() string {
	return "it is not in the log yet, and stays asked for: " + e.err.Error()
}
func (e *notYetError) Unwrap() error { return e.err }

// ExitCode tells it from a refusal, which is 1.
func (e *notYetError) ExitCode() int { return 3 }

// ChangeRequest asks whoever publishes to log a statement of root keys.
type ChangeRequest struct {
	Register Register
	Bucket   Bucket
	Election *schemas.Election
	Note     []byte // signed
	Roster   []byte // the new one, where the statement is of that

	number uint64
}

// Send checks the statement by the powers that the log puts in force, puts its
// roster where it lies for good, and leaves the statement in the register.
func (q *ChangeRequest) Send(ctx context.Context) error {
	st, err := openStatement(q.Note)
	if err != nil {
		return err
	}
	m, err := q.mark(ctx)
	if err != nil {
		return err
	}
	a, err := publishedAuthority(ctx, q.Bucket, m.powers)
	if err != nil {
		return err
	}
	next, err := a.Check(st)
	if err != nil {
		return err
	}
	now := a.At(1 << 62)
	if next.Roster != now.Roster {
		if q.Roster == nil || fileOf(q.Roster) != next.Roster {
			return fmt.Errorf("the statement is of the roster %s: give that file", next.Roster.Digest)
		}
		if _, err := next.Keyring(q.Roster, q.Election); err != nil {
			return err
		}
		if err := q.Bucket.PutNew(ctx, immutable(rosterAt(next.Roster), q.Roster, typeJSON)); err != nil {
			return fmt.Errorf("writing the roster: %w", err)
		}
	}
	q.number = st.Number
	for {
		before, err := q.Register.Load(ctx, changeName)
		if err != nil {
			return fmt.Errorf("leaving the change: %w", err)
		}
		if waiting, err := openStatement(before); err == nil && waiting.Number == st.Number && !bytes.Equal(before, q.Note) {
			return fmt.Errorf("another change of number %d waits already", st.Number)
		}
		if !bytes.Equal(before, q.Note) {
			err = q.Register.Swap(ctx, changeName, before, q.Note)
		}
		if err == nil {
			return nil
		}
		if !errors.Is(err, register.ErrConflict) {
			return fmt.Errorf("leaving the change: %w", err)
		}
	}
}

func (q *ChangeRequest) mark(ctx context.Context) (*mark, error) {
	b, err := q.Register.Load(ctx, markName)
	if err != nil {
		return nil, fmt.Errorf("reading the publication mark: %w", err)
	}
	if b == nil {
		return nil, errors.New("nothing is published yet: open the election with the roster that is to be in force")
	}
	return parseMark(b, q.Election.Definition.Origin)
}

// Await returns the index of the statement's leaf once it is published.
func (q *ChangeRequest) Await(ctx context.Context, sleep func(context.Context, time.Duration) error) (int64, error) {
	for {
		index, err := q.published(ctx)
		if err != nil || index > 0 {
			return index, err
		}
		const every = 500 * time.Millisecond
		if err := sleep(ctx, every); err != nil {
			return 0, &notYetError{err}
		}
	}
}

// published is the index of the statement's leaf, or 0 while it is not decided
// or not in the published log. The first leaf is no statement.
func (q *ChangeRequest) published(ctx context.Context) (int64, error) {
	m, err := q.mark(ctx)
	if err != nil || uint64(len(m.powers)) < q.number {
		return 0, err
	}
	tree, err := publishedTree(ctx, q.Bucket)
	if err != nil || tree.N <= m.powers[q.number-1] {
		return 0, err
	}
	return m.powers[q.number-1], nil
}
