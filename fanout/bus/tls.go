package bus

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
)

// TLSFiles name the certificate of a server or a client, and those whom it
// trusts.
type TLSFiles struct {
	Certificate string // chain (PEM)
	Key         string // its private key (PEM)
	Authorities string // file of certificates (PEM) of those who may sign the other side's, or these themselves; empty: the system's
}

// Set reports whether any file is named.
func (f TLSFiles) Set() bool { return f != TLSFiles{} }

// Client is for a connection to the bus; a certificate is not needed.
func (f TLSFiles) Client() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS13}
	if f.Certificate != "" || f.Key != "" {
		if err := f.identify(c); err != nil {
			return nil, err
		}
	}
	var err error
	c.RootCAs, err = f.pool()
	return c, err
}

// Server is for clients of the bus. They bring a token or a password, and no
// certificate.
func (f TLSFiles) Server() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS13}
	return c, f.identify(c)
}

// Peer is for servers of one cluster: each checks the other's certificate.
func (f TLSFiles) Peer() (*tls.Config, error) {
	if f.Authorities == "" {
		return nil, errors.New("reading certificates of the bus: servers of a cluster need the authorities of each other's certificates")
	}
	c := &tls.Config{MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert}
	if err := f.identify(c); err != nil {
		return nil, err
	}
	var err error
	if c.RootCAs, err = f.pool(); err != nil {
		return nil, err
	}
	c.ClientCAs = c.RootCAs
	return c, nil
}

func (f TLSFiles) identify(c *tls.Config) error {
	pair, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	if err != nil {
		return fmt.Errorf("reading the certificate of the bus: %w", err)
	}
	c.Certificates = []tls.Certificate{pair}
	return nil
}

func (f TLSFiles) pool() (*x509.CertPool, error) {
	if f.Authorities == "" {
		return nil, nil
	}
	text, where := []byte(f.Authorities), "what was given"
	if !strings.Contains(f.Authorities, "-----BEGIN ") { // a container has variables and no files
		where = f.Authorities
		var err error
		if text, err = os.ReadFile(f.Authorities); err != nil {
			return nil, fmt.Errorf("reading the authorities of the bus: %w", err)
		}
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("reading the authorities of the bus: %s holds no certificate", where)
	}
	return pool, nil
}
