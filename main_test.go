package main

import (
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// TestEveryCommandParsesAndHelps builds the whole command line, as main does.
func TestEveryCommandParsesAndHelps(t *testing.T) {
	for _, args := range []string{
		"rehearse", "rehearse --generate us --revisions 1 --speed max --exit", "rehearse --results a.csv --results b,c.csv.gz", "rehearse --results a.csv b.csv --exit",
		"simulate --prepare", "ingest --data d --listen 127.0.0.1:1", "aggregate", "publish --export-every 5s", "fanout", "watch president --json",
		"keys new official --out k", "keys show k", "version", "submit body.json --key k --url http://127.0.0.1:1",
		"viewers ws://127.0.0.1:8080 -n 10 --storm-at 5s --json", "setup --check --aws-endpoint http://127.0.0.1:1", "setup --plan",
		"rehearse --aws-endpoint http://127.0.0.1:1 --generate county", "ingest --stores aws --aws-region us-east-1", "aggregate --stores aws", "publish --stores aws", "fanout --stores aws",
		"convert definition.json", "audit --bucket public", "verify public --json", "capacity --units 2500 --contests 30", "simulate-faults --seeds 10", "keys media herald",
	} {
		var cli commands
		parser, err := kong.New(&cli, options()...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parser.Parse(strings.Fields(args)); err != nil {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// TestACommaInAFileNameIsPartOfIt: --results may be repeated, not split.
func TestACommaInAFileNameIsPartOfIt(t *testing.T) {
	var cli commands
	parser, err := kong.New(&cli, options()...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse([]string{"rehearse", "--results", "a,b.csv", "--results", "c.csv"}); err != nil {
		t.Fatal(err)
	}
	if got := cli.Rehearse.Results; len(got) != 2 || got[0] != "a,b.csv" {
		t.Errorf("%q", got)
	}
}
