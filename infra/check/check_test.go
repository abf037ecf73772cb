package check_test

import (
	"bytes"
	"strings"
	"testing"
	"testing/fstest"

	"tallystream/infra/check"
)

func tree(text string) fstest.MapFS {
	return fstest.MapFS{"m/main.tf": {Data: []byte(text)}}
}

// What cannot be checked must not pass as checked.
func TestALoadFailsOnWhatItDoesNotKnow(t *testing.T) {
	for name, c := range map[string]struct{ text, says string }{
		"syntax":            {`resource "aws_vpc" {`, "m/main.tf:1"},
		"kind":              {`ephemeral "aws_secret" "x" {}`, `block "ephemeral"`},
		"labels":            {`resource "aws_vpc" {}`, "with 1 labels"},
		"argument outside":  {`region = "us-east-1"`, "outside of a block"},
		"one local twice":   {"locals {\n  a = 1\n}\nlocals {\n  a = 2\n}", "local.a is also at"},
		"nothing there":     {"", ""},
		"checks are blocks": {`check "x" {}`, `block "check"`},
	} {
		t.Run(name, func(t *testing.T) {
			files := tree(c.text)
			if c.text == "" {
				files = fstest.MapFS{}
			}
			_, err := check.Load(files, "m")
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want an error with %q", err, c.says)
			}
		})
	}
}

func TestACallOfWhatIsNotInTheTreeIsFound(t *testing.T) {
	modules, err := check.LoadAll(tree(`module "x" { source = "git::https://example.org/x" }`), "m")
	if err != nil {
		t.Fatal(err)
	}
	found := check.References(modules, &check.Schema{})
	if len(found) != 1 || !strings.Contains(found[0].String(), "m/main.tf:1: module.x: its source is not a module of this tree") {
		t.Errorf("got %v", found)
	}
	if _, err := check.LoadAll(tree(`module "x" { source = "../gone" }`), "m"); err == nil {
		t.Error("a module that is not there was loaded")
	}
}

func TestACutRefusesTypesThatTheSchemaLacks(t *testing.T) {
	modules, err := check.LoadAll(tree(`resource "aws_moon" "x" {}`), "m")
	if err != nil {
		t.Fatal(err)
	}
	whole := &check.Schema{}
	if _, err := whole.Cut(modules); err == nil || !strings.Contains(err.Error(), "aws_moon") {
		t.Errorf("got %v", err)
	}
	if err := whole.Describe("aws_moon"); err == nil {
		t.Error("a type that is not there was described")
	}
}

func TestASchemaIsReadAsItWasWritten(t *testing.T) {
	written := &check.Schema{Resources: map[string]check.SchemaOf{"aws_x": {Block: check.BlockSchema{
		Attributes: map[string]check.AttributeSchema{"name": {Type: []byte(`"string"`), Required: true}},
		Blocks:     map[string]check.NestedSchema{"part": {Nesting: "list", Max: 1}},
	}}}}
	var first, second bytes.Buffer
	if err := written.Write(&first); err != nil {
		t.Fatal(err)
	}
	read, err := check.ReadSchema(bytes.NewReader(first.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if err := read.Write(&second); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("reading and writing changes the bytes")
	}
	if _, err := check.ReadSchema(strings.NewReader("not gzip")); err == nil {
		t.Error("what is not gzip was read")
	}
}
