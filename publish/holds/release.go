package holds

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"

	"golang.org/x/mod/sumdb/note"

	"tallystream/ingest/client"
	"tallystream/schemas"
)

// because is the public reason of a release.
type because struct {
	Reason string `help:"Why it is right: checked, registration-list, equipment, duplicate, recount or court-order." required:""`
	Text   string `help:"A sentence for the public: who checked what." required:""`
}

// confirmFlags let a script answer.
type confirmFlags struct {
	Yes bool `help:"Do not ask."`
}

// ReleaseCommand is `tallystream holds release`.
type ReleaseCommand struct {
	pick
	because
	siteFlags
	statementFlags
	sendFlags
	confirmFlags
	KeyFile []string `help:"File with a supervisor's private key; give it twice, for two different supervisors." required:"" type:"path" placeholder:"FILE" sep:"none"`
}

// Run shows what will count, signs and sends.
func (c *ReleaseCommand) Run(ctx context.Context) error { return c.run(ctx, standard()) }

func (c *ReleaseCommand) run(ctx context.Context, t *terminal) error {
	if len(c.KeyFile) != 2 {
		return exit{fmt.Errorf("%d key files: want two, of two supervisors (or sign, cosign and send)", len(c.KeyFile)), exitUsage}
	}
	signed, err := c.note(ctx, t, &c.siteFlags, &c.statementFlags, &c.because, c.KeyFile...)
	if err != nil {
		return err
	}
	if err := t.confirm(c.Yes, "Sign and send this release?"); err != nil {
		return err
	}
	return c.send(ctx, t, signed)
}

// note shows the hold, and signs its release with the keys of files. It is not
// sent or kept yet.
func (p *pick) note(ctx context.Context, t *terminal, f *siteFlags, given *statementFlags, b *because, files ...string) ([]byte, error) {
	signers := make([]note.Signer, len(files))
	for i, file := range files {
		var err error
		if signers[i], _, err = client.ReadKey(file); err != nil {
			return nil, exit{err, exitUsage}
		}
	}
	s, err := f.open(ctx, t.err)
	if err != nil {
		return nil, err
	}
	all, err := s.holds(ctx)
	if err != nil {
		return nil, exit{err, exitUsage}
	}
	h, err := p.find(all)
	if err != nil {
		return nil, exit{err, exitUsage}
	}
	digest, err := t.show(ctx, s, h, given, b)
	if err != nil {
		return nil, err
	}
	signed, err := schemas.AppendRelease(nil, s.origin, h.Unit, h.Revision, digest, schemas.ReleaseReason(b.Reason), b.Text, signers...)
	if err != nil {
		return nil, exit{err, exitUsage}
	}
	return signed, nil
}

// show tells what will count, and returns its hash.
func (t *terminal) show(ctx context.Context, s *site, h *schemas.HeldEntry, given *statementFlags, b *because) (schemas.Digest, error) {
	numbers := s.numbers
	if hidden(h) {
		numbers = given.numbers
	}
	body, digest, err := numbers(ctx, h)
	if err != nil {
		return digest, exit{fmt.Errorf("reading the numbers that are held: %w", err), exitUsage}
	}
	fmt.Fprintf(t.err, "%s of %s, revision %s, is held as %s:\n  %s\nSHA-256 of the body: %s\n\nReleased, these numbers count for the unit:\n\n",
		h.Unit, h.County, h.Revision, h.Code, why(h), digest)
	t.table(body)
	fmt.Fprintf(t.err, "\nIn public: %s: %s\n", b.Reason, b.Text)
	return digest, nil
}

// table shows a submission's numbers.
func (t *terminal) table(body *schemas.Submission) {
	table := tabwriter.NewWriter(t.err, 2, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "\t")
	for _, countType := range body.CountTypes {
		fmt.Fprintf(table, "%s\t", countType)
	}
	fmt.Fprintln(table)
	row := func(name string, counts []schemas.Count) {
		if counts == nil {
			return
		}
		fmt.Fprintf(table, "%s\t", name)
		for _, n := range counts {
			fmt.Fprintf(table, "%d\t", n)
		}
		fmt.Fprintln(table)
	}
	row("ballots", body.Ballots)
	for i := range body.Contests {
		c := &body.Contests[i]
		for k := range c.Selections {
			row(string(c.Contest)+" "+string(c.Selections[k].Selection), c.Selections[k].Counts)
		}
		row(string(c.Contest)+" undervotes", c.Undervotes)
		row(string(c.Contest)+" overvotes", c.Overvotes)
	}
	_ = table.Flush() // to a terminal
}

// SignCommand is `tallystream holds sign`.
type SignCommand struct {
	pick
	because
	siteFlags
	statementFlags
	confirmFlags
	KeyFile string `help:"File with the supervisor's private key." required:"" type:"path" placeholder:"FILE"`
	Out     string `help:"New file for the release. Default: UNIT-REVISION.release." type:"path" placeholder:"FILE"`
}

// Run shows what will count, and signs.
func (c *SignCommand) Run(ctx context.Context) error { return c.run(ctx, standard()) }

func (c *SignCommand) run(ctx context.Context, t *terminal) error {
	signed, err := c.note(ctx, t, &c.siteFlags, &c.statementFlags, &c.because, c.KeyFile)
	if err != nil {
		return err
	}
	if err := t.confirm(c.Yes, "Sign this release?"); err != nil {
		return err
	}
	if c.Out == "" {
		c.Out = fmt.Sprintf("%s-%d.release", c.Unit, c.Revision)
	}
	if err := write(c.Out, signed, os.O_EXCL); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "Signed into %s. A second supervisor checks and signs it with holds cosign.\n", c.Out)
	return nil
}

// CosignCommand is `tallystream holds cosign`.
type CosignCommand struct {
	siteFlags
	statementFlags
	confirmFlags
	File    string `arg:"" help:"The release that the first supervisor signed." type:"existingfile"`
	KeyFile string `help:"File with the second supervisor's private key." required:"" type:"path" placeholder:"FILE"`
}

// Run shows what will count, and adds a signature.
func (c *CosignCommand) Run(ctx context.Context) error { return c.run(ctx, standard()) }

func (c *CosignCommand) run(ctx context.Context, t *terminal) error {
	b, l, err := readRelease(c.File)
	if err != nil {
		return err
	}
	signer, _, err := client.ReadKey(c.KeyFile)
	if err != nil {
		return exit{err, exitUsage}
	}
	for _, line := range l.Signatures() {
		if string(line.Name) == signer.Name() {
			return exit{fmt.Errorf("%s signed it before: a release needs two different supervisors", signer.Name()), exitUsage}
		}
	}
	s, err := c.open(ctx, t.err)
	if err != nil {
		return err
	}
	if s.origin != string(l.Origin) {
		return exit{fmt.Errorf("the release is of %s, the site of %s", l.Origin, s.origin), exitUsage}
	}
	all, err := s.holds(ctx)
	if err != nil {
		return exit{err, exitUsage}
	}
	p := pick{Unit: string(l.Unit), Revision: uint32(l.Revision), Digest: l.Digest.String()}
	h, err := p.find(all)
	if err != nil {
		return exit{err, exitUsage}
	}
	digest, err := t.show(ctx, s, h, &c.statementFlags, &because{string(l.Reason), string(l.Public)})
	if err != nil {
		return err
	}
	if digest != l.Digest {
		return exit{fmt.Errorf("the release is of another submission: it names %s", l.Digest), exitUsage}
	}
	if err := t.confirm(c.Yes, "Add your signature to this release?"); err != nil {
		return err
	}
	if b, err = schemas.AppendSignature(b, l.Text, signer); err != nil {
		return exit{err, exitUsage}
	}
	if err := write(c.File, b, os.O_TRUNC); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "Signed. Send it with holds send %s.\n", c.File)
	return nil
}

func readRelease(file string) ([]byte, *schemas.Release, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, exit{fmt.Errorf("reading the release: %w", err), exitUsage}
	}
	l := new(schemas.Release)
	if err := l.Parse(b); err != nil {
		return nil, nil, exit{fmt.Errorf("reading %s: %w", file, err), exitUsage}
	}
	return b, l, nil
}

func write(file string, b []byte, how int) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|how, 0o644)
	if err == nil {
		_, err = f.Write(b)
		if e := f.Close(); err == nil {
			err = e
		}
	}
	if err != nil {
		return exit{fmt.Errorf("writing the release: %w", err), exitUsage}
	}
	return nil
}
