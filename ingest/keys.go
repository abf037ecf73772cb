package ingest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"tallystream/ingest/client"
	"tallystream/schemas"
)

// KeysCommand is `tallystream keys`.
type KeysCommand struct {
	New    KeysNewCommand    `cmd:"" help:"Make a key pair: the private key into a file, the verifier key onto the terminal."`
	Show   KeysShowCommand   `cmd:"" help:"Show the verifier key of a private key file."`
	Roster KeysRosterCommand `cmd:"" help:"Make a roster of the keys that may sign submissions."`
}

// KeysNewCommand is `tallystream keys new`.
type KeysNewCommand struct {
	Name string `arg:"" help:"Name of the key, such as leon.example.org/official-1. It stands in every signature."`
	Out  string `help:"New file for the private key (mode 0600)." required:"" type:"path"`
}

// Run makes the key pair.
func (c *KeysNewCommand) Run() error { return c.run(os.Stdout) }

func (c *KeysNewCommand) run(stdout io.Writer) error {
	private, public, err := note.GenerateKey(rand.Reader, c.Name)
	if err != nil {
		return fmt.Errorf("making key %q: %w", c.Name, err)
	}
	// The name is only checked when a key is read.
	if _, err := note.NewVerifier(public); err != nil {
		return fmt.Errorf("key name %q: want no white space and no '+'", c.Name)
	}
	if err := client.WriteKey(c.Out, private); err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, public)
	return err
}

// KeysShowCommand is `tallystream keys show`.
type KeysShowCommand struct {
	File string `arg:"" help:"Private key file." type:"path"`
}

// Run shows the verifier key.
func (c *KeysShowCommand) Run() error { return c.run(os.Stdout) }

func (c *KeysShowCommand) run(stdout io.Writer) error {
	_, verifier, err := client.ReadKey(c.File)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, verifier)
	return err
}

// KeysRosterCommand is `tallystream keys roster`.
type KeysRosterCommand struct {
	Election   string   `help:"Identifier of the election. Default: the definition's."`
	Definition string   `help:"File with the election definition; the roster is checked against it." type:"path"`
	Add        []string `help:"ROLE:COUNTY:FILE, once a key. ROLE is official, approver or supervisor; an empty COUNTY is the whole election; FILE holds a private or a verifier key." required:"" sep:"none"`
	Out        string   `help:"File for the roster. Default: the terminal." type:"path"`
}

// Run makes the roster.
func (c *KeysRosterCommand) Run() error { return c.run(os.Stdout) }

func (c *KeysRosterCommand) run(stdout io.Writer) error {
	roster := schemas.Roster{Schema: schemas.RosterSchema, Election: schemas.ElectionID(c.Election)}
	for _, spec := range c.Add {
		entry, err := readEntry(spec)
		if err != nil {
			return err
		}
		roster.Keys = append(roster.Keys, entry)
	}
	election, err := c.open(&roster)
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(&roster, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the roster: %w", err)
	}
	b = append(b, '\n')
	if election != nil {
		if _, err := schemas.OpenRoster(b, election); err != nil {
			return err
		}
	}
	if c.Out == "" {
		_, err = stdout.Write(b)
		return err
	}
	if err := os.WriteFile(c.Out, b, 0o644); err != nil {
		return fmt.Errorf("writing the roster: %w", err)
	}
	return nil
}

// open reads the definition, if one is given, and settles the election.
func (c *KeysRosterCommand) open(roster *schemas.Roster) (*schemas.Election, error) {
	if c.Definition == "" {
		if _, err := schemas.ParseElectionID(c.Election); err != nil {
			return nil, fmt.Errorf("give --election or --definition: %w", err)
		}
		return nil, nil
	}
	b, err := os.ReadFile(c.Definition)
	if err != nil {
		return nil, fmt.Errorf("reading the definition: %w", err)
	}
	election, err := schemas.OpenElection(b)
	if err != nil {
		return nil, err
	}
	if roster.Election == "" {
		roster.Election = election.Definition.Election
	}
	return election, nil
}

// readEntry reads ROLE:COUNTY:FILE.
func readEntry(spec string) (schemas.KeyEntry, error) {
	part := strings.SplitN(spec, ":", 3)
	if len(part) != 3 {
		return schemas.KeyEntry{}, fmt.Errorf("key %q: want ROLE:COUNTY:FILE", spec)
	}
	entry := schemas.KeyEntry{Role: schemas.Role(part[0]), County: schemas.CountyID(part[1])}
	switch entry.Role {
	case schemas.Official, schemas.Approver, schemas.Supervisor:
	default:
		return entry, fmt.Errorf("role %q: want official, approver or supervisor", part[0])
	}
	b, err := os.ReadFile(part[2])
	if err != nil {
		return entry, fmt.Errorf("reading key: %w", err)
	}
	text := strings.TrimSpace(string(b))
	if strings.HasPrefix(text, "PRIVATE+") {
		_, entry.Key, err = schemas.OpenPrivateKey(text)
	} else {
		_, err = schemas.ParseVerifierKey(text)
		entry.Key = text
	}
	if err != nil {
		return entry, fmt.Errorf("key file %s: %w", part[2], err)
	}
	return entry, nil
}
