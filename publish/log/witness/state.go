package witness

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// stateKind is the first line of a state file; the checkpoint follows.
const stateKind = "tallystream/witness/v1\n"

// maxEvidence bounds the files of evidence: a log that forks may do so at each
// request.
const maxEvidence = 100

// ErrLocked: another process uses the state.
var ErrLocked = errors.New("another witness uses this directory")

// Directory is a State of files: one a log, written anew and renamed over the
// old one, with file and directory synced before Save returns.
type Directory struct {
	path string
	lock *os.File // held until Close
}

// OpenDirectory opens or makes the directory and locks it.
func OpenDirectory(path string) (*Directory, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("opening the witness's state: %w", err)
	}
	if err := syncDirectory(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("opening the witness's state: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the witness's state: %w", err)
	}
	if err := lock(f); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the witness's state: %s: %w", path, err), f.Close())
	}
	return &Directory{path, f}, nil
}

// Close lets another process in.
func (d *Directory) Close() error { return d.lock.Close() }

// ID names a log in paths: the SHA-256 of its origin.
func ID(origin string) string {
	h := sha256.Sum256([]byte(origin))
	return hex.EncodeToString(h[:])
}

func (d *Directory) file(origin string) string {
	return filepath.Join(d.path, ID(origin)+".checkpoint")
}

// Load reads what was saved. The witness checks that it is whole: what is not is
// an error, never a log that was not seen.
func (d *Directory) Load(origin string) ([]byte, error) {
	b, err := os.ReadFile(d.file(origin))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b, ok := bytes.CutPrefix(b, []byte(stateKind))
	if !ok {
		return nil, fmt.Errorf("%s: want %s first", d.file(origin), strings.TrimSpace(stateKind))
	}
	return b, nil
}

// Save replaces the log's file.
func (d *Directory) Save(origin string, checkpoint []byte) error {
	return replaceFile(d.file(origin), append([]byte(stateKind), checkpoint...), 0o600)
}

// Keep stores evidence under its hash.
func (d *Directory) Keep(evidence []byte) (string, error) {
	h := sha256.Sum256(evidence)
	path := filepath.Join(d.path, "fork-"+hex.EncodeToString(h[:8])+".txt")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	old, err := filepath.Glob(filepath.Join(d.path, "fork-*.txt"))
	if err != nil || len(old) >= maxEvidence {
		return "", errors.Join(err, fmt.Errorf("keeping evidence: there are %d files of it already", len(old)))
	}
	if err := replaceFile(path, evidence, 0o644); err != nil {
		return "", fmt.Errorf("keeping evidence: %w", err)
	}
	return path, nil
}

// replaceFile writes a file that is there whole or not at all, and for good
// when it returns.
func replaceFile(path string, b []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	if _, err = f.Write(b); err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := syncDirectory(filepath.Dir(path)); err != nil {
		// The name may or may not survive a power cut; either way it is a
		// checkpoint that was seen. The caller must not sign.
		return fmt.Errorf("syncing %s: %w", filepath.Dir(path), err)
	}
	return nil
}

func syncDirectory(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
