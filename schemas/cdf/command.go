package cdf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"tallystream/schemas"
)

// ConvertCommand is `tallystream convert`: a pre-election report of NIST SP
// 1500-100 v2 to an election definition, or the other way.
type ConvertCommand struct {
	File string `arg:"" help:"The pre-election report to read as a definition, or the definition.json to write as a report; - is standard input. Which it is, its first members say."`
	Out  string `help:"File to write, which must not be there; - is standard output." default:"-" placeholder:"FILE"`

	// What a report of another program does not say.
	Election   string   `help:"Identifier of the election. Default: what the report says, or made of its name." group:"To a definition"`
	Origin     string   `help:"First line of every signed note of the election: a URL without scheme. Needed unless the report was written by us." group:"To a definition" placeholder:"HOST/PATH"`
	CountTypes []string `help:"Count types in the order of all arrays of counts, such as early,election-day,absentee-mail. Default: those of the report's CountStatus." group:"To a definition"`
	Partitions int      `help:"Partitions of the stream. Default: the number of counties, at most 8." group:"To a definition"`
	Signatures int      `help:"Signatures of a submission: 1, or 2 for an official and an approver. Default: 1." group:"To a definition"`
	State      string   `help:"State of counties that the report places in none, as ID:NAME, such as fl:Florida." group:"To a definition"`
	Ballots    bool     `help:"Submissions will state ballots cast." group:"To a definition"`
	Residuals  string   `help:"Whether over- and undervotes are known: none, total, or count-type. Default: what the report says, or none." group:"To a definition"`

	Issuer             string    `help:"Who issues the report. Default: the host of the election's origin." group:"To a report"`
	IssuerAbbreviation string    `help:"Short for it." group:"To a report"`
	ElectionType       string    `help:"general, primary, partisan-primary-closed, partisan-primary-open, runoff, special or other." default:"other" group:"To a report"`
	Test               string    `help:"Mark the report as a test of this kind, such as rehearsal." group:"To a report"`
	Generated          time.Time `help:"Time that the report bears (RFC 3339), so that the same input gives the same bytes. Default: now." group:"To a report"`
}

// Help is shown by --help below the summary.
func (*ConvertCommand) Help() string {
	return `
NIST SP 1500-100 v2 is the common data format of election results. A report of status "pre-election" holds places, contests, candidates and
ballot styles: what an election definition holds. Reading is strict: what is missing, repeated, or not in the standard is an error that names
its path, such as $.GpUnit[3].Name.

A definition that is written and read again is equal. Its hash is that of its bytes: compact JSON, as this program writes it. A definition that
was formatted by hand has another hash before and after; the command says so.

  tallystream convert report.json --out definition.json --origin results.example.org/2026-general --state fl:Florida
  tallystream convert definition.json --out report.json --election-type general --issuer "State of Franklin"
`
}

// Run converts.
func (c *ConvertCommand) Run(log *slog.Logger) error {
	b, err := c.read(os.Stdin)
	if err != nil {
		return err
	}
	report, err := isReport(b)
	if err != nil {
		return fmt.Errorf("converting %s: %w", c.File, err)
	}
	write := c.toReport
	if report {
		write = c.toDefinition
	}
	var converted bytes.Buffer
	if err := write(b, &converted, log); err != nil {
		return fmt.Errorf("converting %s: %w", c.File, err)
	}
	return c.write(os.Stdout, converted.Bytes())
}

func (c *ConvertCommand) read(in io.Reader) ([]byte, error) {
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", c.File, err)
	}
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("reading %s: more than %d bytes", c.File, MaxBytes)
	}
	return b, nil
}

func (c *ConvertCommand) write(out io.Writer, b []byte) error {
	if c.Out == "-" {
		_, err := out.Write(b)
		return err
	}
	f, err := os.OpenFile(c.Out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		return errors.Join(err, f.Close(), os.Remove(c.Out))
	}
	return f.Close()
}

// isReport reports whether b is a report, and not a definition.
func isReport(b []byte) (bool, error) {
	var head struct {
		Class  string `json:"@type"`
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return false, fmt.Errorf("is no JSON object: %w", err)
	}
	switch {
	case strings.HasPrefix(head.Class, classPrefix):
		return true, nil
	case head.Schema == schemas.DefinitionSchema:
		return false, nil
	}
	return false, fmt.Errorf("want a member @type of %sElectionReport, or a member schema of %s", classPrefix, schemas.DefinitionSchema)
}

func (c *ConvertCommand) options() (Options, error) {
	o := Options{
		Election: schemas.ElectionID(c.Election), Origin: c.Origin, Partitions: c.Partitions, Signatures: c.Signatures,
		Ballots: c.Ballots, Residuals: schemas.Residuals(c.Residuals),
	}
	for _, t := range c.CountTypes {
		o.CountTypes = append(o.CountTypes, schemas.CountType(t))
	}
	if c.State != "" {
		id, name, ok := strings.Cut(c.State, ":")
		if !ok {
			return o, fmt.Errorf("--state %q: want ID:NAME, such as fl:Florida", c.State)
		}
		o.State = schemas.State{ID: schemas.CountyID(id), Name: name}
	}
	return o, nil
}

// toDefinition writes the same bytes that every other command writes of a
// definition: its hash depends on them.
func (c *ConvertCommand) toDefinition(b []byte, out *bytes.Buffer, log *slog.Logger) error {
	o, err := c.options()
	if err != nil {
		return err
	}
	d, of, err := read(bytes.NewReader(b), o)
	if err != nil {
		return err
	}
	text, err := json.Marshal(d)
	if err != nil {
		return err
	}
	out.Write(text)
	hash := schemas.DigestOf(text).String()
	log.Info("definition written", "election", d.Election, "contests", len(d.Contests), "units", len(d.Units), "sha256", hash)
	if of != "" && of != hash {
		log.Warn("the report was written of a definition with other bytes: submissions signed for that one do not count for this", "sha256", of)
	}
	return nil
}

func (c *ConvertCommand) toReport(b []byte, out *bytes.Buffer, log *slog.Logger) error {
	e, err := schemas.OpenElection(b)
	if err != nil {
		return err
	}
	f := Facts{
		Issuer: c.Issuer, IssuerAbbreviation: c.IssuerAbbreviation, ElectionType: ElectionType(c.ElectionType), Test: c.Test, Time: c.Generated,
	}
	if f.Time.IsZero() {
		f.Time = time.Now()
	}
	if err := NewExporter(e).Definition(out, &f); err != nil {
		return err
	}
	if again, err := json.Marshal(e.Definition); err == nil && schemas.DigestOf(again) != e.Hash {
		log.Warn("this definition is not in the compact form that this program writes: read back from the report it is equal, but has another hash")
	}
	return nil
}
