package client

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/mod/sumdb/note"

	"tallystream/schemas"
)

// ReadKey reads a private key file and returns its signer and verifier key.
func ReadKey(path string) (note.Signer, string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, "", fmt.Errorf("reading key: %w", err)
	}
	signer, verifier, err := schemas.OpenPrivateKey(string(b))
	if err != nil {
		return nil, "", fmt.Errorf("reading key %s: %w", path, err)
	}
	return signer, verifier, nil
}

// WriteKey stores a private key in a new file for its owner only. It never
// replaces a file: a lost key cannot be made again.
func WriteKey(path, private string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("writing key: %s exists and is not replaced", path)
	}
	if err != nil {
		return fmt.Errorf("writing key: %w", err)
	}
	_, err = f.WriteString(private + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing key: %w", err)
	}
	return nil
}
