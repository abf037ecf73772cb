package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"tallystream/schemas"
)

// SetupCommand is `tallystream setup`.
type SetupCommand struct {
	Options  `embed:""`
	Size     `embed:""`
	Election string        `help:"Identifier of the election. Empty: that of the definition in the data directory." placeholder:"ID"`
	Data     string        `help:"Private directory with definition.json." type:"path" default:"data" env:"TALLYSTREAM_DATA"`
	Check    bool          `help:"Change nothing; exit 1 if anything is missing or differs." xor:"what"`
	ShowPlan bool          `name:"plan" help:"Print as JSON what there should be, and ask AWS for nothing but the account." xor:"what"`
	JSON     bool          `name:"json" help:"Print the findings as JSON."`
	Timeout  time.Duration `help:"Longest time to wait for everything to be ready." default:"15m"`
}

// ErrNotReady says that something is missing or differs.
var ErrNotReady = errors.New("not everything is as it should be")

// Run creates what is missing and prints what it found and did.
func (c *SetupCommand) Run(ctx context.Context, log *slog.Logger) error {
	return c.run(ctx, log, os.Stdout)
}

func (c *SetupCommand) run(ctx context.Context, log *slog.Logger, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	if c.Shards < 1 || c.WarmReads < 0 || c.WarmWrites < 0 {
		return fmt.Errorf("--shards %d, --warm-writes %d, --warm-reads %d: want at least 1, 0 and 0", c.Shards, c.WarmWrites, c.WarmReads)
	}
	election, err := c.election()
	if err != nil {
		return err
	}
	clients, err := Open(ctx, c.Options, WithLog(log))
	if err != nil {
		return err
	}
	names, err := clients.Names(ctx, c.Options, election)
	if err != nil {
		return err
	}
	plan := names.Plan(c.Size, clients.Region)
	if c.ShowPlan {
		return printJSON(out, struct {
			Names Names `json:"names"`
			Plan  Plan  `json:"plan"`
		}{names, plan})
	}
	s := Setup{Clients: clients, Plan: plan, Check: c.Check, Progress: func(text string) { log.InfoContext(ctx, text) }}
	findings, err := s.Run(ctx)
	if err := c.print(out, findings); err != nil {
		return err
	}
	if err != nil {
		return err
	}
	for _, f := range findings {
		if !f.Right() {
			return ErrNotReady
		}
	}
	return nil
}

// election is the flag's, or the data directory's.
func (c *SetupCommand) election() (schemas.ElectionID, error) {
	if c.Election != "" {
		return schemas.ParseElectionID(c.Election)
	}
	b, err := os.ReadFile(filepath.Join(c.Data, schemas.DefinitionKey))
	if err != nil {
		return "", fmt.Errorf("reading the election: %w (or give --election)", err)
	}
	opened, err := schemas.OpenElection(b)
	if err != nil {
		return "", fmt.Errorf("reading the election: %w", err)
	}
	return opened.Definition.Election, nil
}

func (c *SetupCommand) print(out io.Writer, findings []Finding) error {
	if c.JSON {
		return printJSON(out, findings)
	}
	for _, f := range findings {
		if err := f.print(out); err != nil {
			return err
		}
	}
	return nil
}

// print writes a line for the resource and one for each difference, change and note.
func (f Finding) print(out io.Writer) error {
	text := fmt.Sprintf("%-7s %s: %s\n", f.Resource, f.Name, f.State)
	for _, d := range f.Differences {
		text += fmt.Sprintf("        %s: want %s, have %s\n", d.Field, d.Want, d.have())
	}
	if f.State == Completed || f.State == Differs {
		for _, d := range f.Changes {
			text += fmt.Sprintf("        set %s to %s, was %s\n", d.Field, d.Want, d.have())
		}
	}
	for _, note := range f.Notes {
		text += "        " + note + "\n"
	}
	_, err := io.WriteString(out, text)
	return err
}

func (d Difference) have() string {
	if d.Have == "" {
		return "none"
	}
	return d.Have
}

func printJSON(out io.Writer, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	_, err = fmt.Fprintf(out, "%s\n", b)
	return err
}
