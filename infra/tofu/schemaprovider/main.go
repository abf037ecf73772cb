// Command schemaprovider is a provider for OpenTofu and Terraform that knows
// the AWS provider's schema and nothing else: it reaches no network, keeps no
// state and can create nothing.
//
// With it `tofu validate` types every expression of ours against the real
// schema, and `tofu test` with a mocked provider evaluates the modules, on a
// machine that has neither an account nor a registry. Values that the real
// provider checks by code (an enum spelled wrongly) pass here; the policies in
// infra/tofu look at those that matter.
//
// It is a module of its own so that the plugin libraries stay out of the
// product's go.mod.
package main

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6/tf6server"
)

// schemaVariable names the environment variable with the path of the
// gzipped schema, as infra/tofu/testdata keeps it.
const schemaVariable = "TALLYSTREAM_PROVIDER_SCHEMA"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "schemaprovider:", err)
		os.Exit(1)
	}
}

func run() error {
	path := os.Getenv(schemaVariable)
	if path == "" {
		return errors.New("set " + schemaVariable + " to the path of provider-schema.json.gz")
	}
	schemas, err := read(path)
	if err != nil {
		return fmt.Errorf("reading the schema: %w", err)
	}
	answer, err := schemas.protocol()
	if err != nil {
		return fmt.Errorf("translating the schema: %w", err)
	}
	return tf6server.Serve("registry.terraform.io/hashicorp/aws", func() tfprotov6.ProviderServer { return provider{answer} })
}

func read(path string) (s schemas, err error) {
	f, err := os.Open(path)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	z, err := gzip.NewReader(f)
	if err != nil {
		return s, err
	}
	return s, json.NewDecoder(z).Decode(&s)
}
