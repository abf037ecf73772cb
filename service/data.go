package service

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"tallystream/schemas"
)

// Data is the private directory of an embedded deployment: the election, the
// keys, the stream and the ledger. The processes of one machine share it.
//
//	definition.json  roster.json
//	keys/ingest.key  keys/publish.key   (private, mode 0600)
//	stream.db  ledger.db  control.db
type Data struct{ Dir string }

// The paths inside.
func (d Data) DefinitionPath() string { return filepath.Join(d.Dir, schemas.DefinitionKey) }

// RosterPath is where the roster lies.
func (d Data) RosterPath() string { return filepath.Join(d.Dir, schemas.RosterKey) }

// StreamPath is where the stream lies.
func (d Data) StreamPath() string { return filepath.Join(d.Dir, "stream.db") }

// LedgerPath is where the ledger lies.
func (d Data) LedgerPath() string { return filepath.Join(d.Dir, "ledger.db") }

// ControlPath is where the register lies: leases and the publication's mark.
func (d Data) ControlPath() string { return filepath.Join(d.Dir, "control.db") }

// KeyPath is where a service's private key lies.
func (d Data) KeyPath(service string) string { return filepath.Join(d.Dir, "keys", service+".key") }

// Opened is an election that is ready to be counted, with its exact bytes.
type Opened struct {
	Election           *schemas.Election
	Keyring            *schemas.Keyring
	Definition, Roster []byte
}

// Open reads the definition and the roster.
func (d Data) Open() (*Opened, error) {
	var o Opened
	var err error
	if o.Definition, err = os.ReadFile(d.DefinitionPath()); err != nil {
		return nil, fmt.Errorf("opening the election: %w (put definition.json and roster.json into the data directory)", err)
	}
	if o.Roster, err = os.ReadFile(d.RosterPath()); err != nil {
		return nil, fmt.Errorf("opening the election: %w (\"tallystream keys roster\" makes one)", err)
	}
	if o.Election, err = schemas.OpenElection(o.Definition); err != nil {
		return nil, fmt.Errorf("%s: %w", d.DefinitionPath(), err)
	}
	if o.Keyring, err = schemas.OpenRoster(o.Roster, o.Election); err != nil {
		return nil, fmt.Errorf("%s: %w", d.RosterPath(), err)
	}
	return &o, nil
}

// Create writes a new election into the directory, and refuses to replace
// another one.
func (d Data) Create(definition, roster []byte) error {
	if err := os.MkdirAll(filepath.Join(d.Dir, "keys"), 0o700); err != nil {
		return fmt.Errorf("creating the data directory: %w", err)
	}
	for path, b := range map[string][]byte{d.DefinitionPath(): definition, d.RosterPath(): roster} {
		old, err := os.ReadFile(path)
		switch {
		case err == nil && string(old) != string(b):
			return fmt.Errorf("creating the election: %s holds another one", path)
		case err == nil:
			continue
		case !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("creating the election: %w", err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			return fmt.Errorf("creating the election: %w", err)
		}
	}
	return nil
}

// KeyVariable is the environment variable that may hold a service's private key
// instead of its file: how containers are given secrets.
func KeyVariable(service string) string { return "TALLYSTREAM_" + strings.ToUpper(service) + "_KEY" }

// Signer reads the private key of a service, from its variable or else its
// file, and returns its signer and its verifier key.
func (d Data) Signer(service string) (note.Signer, string, error) {
	if key := os.Getenv(KeyVariable(service)); key != "" {
		signer, verifier, err := schemas.OpenPrivateKey(key)
		if err != nil {
			return nil, "", fmt.Errorf("reading the key of %s from %s: %w", service, KeyVariable(service), err)
		}
		return signer, verifier, nil
	}
	b, err := os.ReadFile(d.KeyPath(service))
	if err != nil {
		return nil, "", fmt.Errorf("reading the key of %s: %w (\"tallystream keys new\" makes one, and %s may hold it)", service, err, KeyVariable(service))
	}
	signer, verifier, err := schemas.OpenPrivateKey(string(b))
	if err != nil {
		return nil, "", fmt.Errorf("reading the key of %s from %s: %w", service, d.KeyPath(service), err)
	}
	return signer, verifier, nil
}

// KeyName is the name of a service's key. The publisher's is the origin itself:
// it signs the public log's checkpoints, and a checkpoint is verified with a
// key that is named as the log (https://c2sp.org/tlog-checkpoint).
func KeyName(service, origin string) string {
	if service == "publish" {
		return origin
	}
	return origin + "/" + service
}

// NewKey makes the private key of a service, named after the election's
// origin, and stores it for its owner only.
func (d Data) NewKey(service, origin string) error {
	private, _, err := note.GenerateKey(rand.Reader, KeyName(service, origin))
	if err != nil {
		return fmt.Errorf("making the key of %s: %w", service, err)
	}
	if err := os.MkdirAll(filepath.Join(d.Dir, "keys"), 0o700); err != nil {
		return fmt.Errorf("writing the key of %s: %w", service, err)
	}
	if err := os.WriteFile(d.KeyPath(service), []byte(private+"\n"), 0o600); err != nil {
		return fmt.Errorf("writing the key of %s: %w", service, err)
	}
	return nil
}
