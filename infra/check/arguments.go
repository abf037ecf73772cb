package check

import (
	"encoding/json"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

// Arguments that OpenTofu itself reads in a resource, data source or module.
var (
	metaArguments = map[string]map[string]bool{
		"resource": {"count": true, "for_each": true, "provider": true, "depends_on": true},
		"data":     {"count": true, "for_each": true, "provider": true, "depends_on": true},
		"module":   {"count": true, "for_each": true, "providers": true, "depends_on": true, "source": true, "version": true},
		"provider": {"alias": true},
	}
	metaBlocks = map[string]map[string]bool{
		"resource": {"lifecycle": true, "provisioner": true, "connection": true},
		"data":     {"lifecycle": true},
	}
	lifecycleArguments = map[string]bool{"prevent_destroy": true, "create_before_destroy": true, "ignore_changes": true, "replace_triggered_by": true}
	lifecycleBlocks    = map[string]bool{"precondition": true, "postcondition": true}
)

// Arguments holds every resource, data source and provider block of a module
// against the provider's schema.
func Arguments(m *Module, s *Schema) []Finding {
	var f findings
	for _, b := range m.Blocks {
		switch b.Kind {
		case "resource":
			f.schemaOf(b, s.Resources)
		case "data":
			f.schemaOf(b, s.DataSources)
		case "provider":
			if b.Name != "aws" {
				f.add(b.At, "provider %q is not the one whose schema is at hand", b.Name)
				continue
			}
			f.body(b.Body, s.Provider.Block, "provider aws", metaArguments["provider"], nil)
		}
	}
	return f.sorted()
}

func (f *findings) schemaOf(b *Block, schemas map[string]SchemaOf) {
	schema, ok := schemas[b.Type]
	if !ok {
		f.add(b.At, "the provider has no %s %s (or the cut of its schema is old: go test ./infra/tofu -update)", b.Kind, b.Type)
		return
	}
	f.body(b.Body, schema.Block, b.Address(), metaArguments[b.Kind], metaBlocks[b.Kind])
	for _, nested := range b.Body.Blocks {
		if nested.Type == "lifecycle" {
			f.lifecycle(nested, b.Address())
		}
	}
}

func (f *findings) lifecycle(b *hclsyntax.Block, where string) {
	for name, a := range b.Body.Attributes {
		if !lifecycleArguments[name] {
			f.add(a.SrcRange, "%s: lifecycle has no %s", where, name)
		}
	}
	for _, nested := range b.Body.Blocks {
		if !lifecycleBlocks[nested.Type] {
			f.add(nested.DefRange(), "%s: lifecycle has no block %s", where, nested.Type)
			continue
		}
		for _, name := range []string{"condition", "error_message"} {
			if nested.Body.Attributes[name] == nil {
				f.add(nested.DefRange(), "%s: %s needs %s", where, nested.Type, name)
			}
		}
	}
}

// body compares one block with its schema.
func (f *findings) body(body *hclsyntax.Body, schema BlockSchema, where string, metaArgument, metaBlock map[string]bool) {
	for name, a := range body.Attributes {
		if metaArgument[name] {
			continue
		}
		f.argument(a, schema, where)
	}
	for name, a := range schema.Attributes {
		if a.Required && body.Attributes[name] == nil {
			f.add(hcl.RangeBetween(body.SrcRange, body.SrcRange), "%s: %s is required", where, name)
		}
	}
	counts, open := map[string]int{}, map[string]bool{} // open: a dynamic block may give any number
	for _, nested := range body.Blocks {
		if metaBlock[nested.Type] {
			continue
		}
		if nested.Type == "dynamic" {
			f.dynamic(nested, schema, where, open)
			continue
		}
		inner, ok := schema.Blocks[nested.Type]
		if !ok {
			f.noBlock(nested.DefRange(), nested.Type, schema, where)
			continue
		}
		if len(nested.Labels) > 0 {
			f.add(nested.DefRange(), "%s: %s takes no label", where, nested.Type)
		}
		counts[nested.Type]++
		f.body(nested.Body, inner.Block, where+"."+nested.Type, nil, nil)
	}
	for name, inner := range schema.Blocks {
		most := inner.Max
		if inner.Nesting == "single" {
			most = 1
		}
		if counts[name] < inner.Min && !open[name] {
			f.add(body.SrcRange, "%s: %d of block %s, want at least %d", where, counts[name], name, inner.Min)
		}
		if most > 0 && counts[name] > most {
			f.add(body.SrcRange, "%s: %d of block %s, want at most %d", where, counts[name], name, most)
		}
	}
}

func (f *findings) noBlock(at hcl.Range, name string, schema BlockSchema, where string) {
	if _, argument := schema.Attributes[name]; argument {
		f.add(at, "%s: %s is an argument, not a block (write %s = ...)", where, name, name)
		return
	}
	f.add(at, "%s: there is no block %s", where, name)
}

func (f *findings) argument(a *hclsyntax.Attribute, schema BlockSchema, where string) {
	known, ok := schema.Attributes[a.Name]
	switch _, block := schema.Blocks[a.Name]; {
	case !ok && block:
		f.add(a.SrcRange, "%s: %s is a block, not an argument (write %s { ... })", where, a.Name, a.Name)
		return
	case !ok:
		f.add(a.SrcRange, "%s: there is no argument %s", where, a.Name)
		return
	case known.Computed && !known.Optional && !known.Required:
		f.add(a.SrcRange, "%s: %s is the provider's to say", where, a.Name)
		return
	case known.Deprecated:
		f.add(a.SrcRange, "%s: %s is deprecated: %s", where, a.Name, known.Instead)
	}
	f.literal(a, known.Type, where)
}

// literal refuses a value of an impossible type, where the value is written out.
func (f *findings) literal(a *hclsyntax.Attribute, encoded json.RawMessage, where string) {
	if len(a.Expr.Variables()) > 0 {
		return // `tofu validate` knows; here nothing is evaluated
	}
	v, problems := a.Expr.Value(nil)
	if problems.HasErrors() || v.IsNull() {
		return // a function call
	}
	want, err := ctyjson.UnmarshalType(encoded)
	if err != nil {
		f.add(a.SrcRange, "%s: the schema's type of %s: %v", where, a.Name, err)
		return
	}
	if err := fits(v, want); err != nil {
		f.add(a.SrcRange, "%s: %s: %v", where, a.Name, err)
	}
}

// fits converts as OpenTofu does: "3" is a number, 3 is a string.
func fits(v cty.Value, want cty.Type) error {
	_, err := convert.Convert(v, want)
	return err
}

func (f *findings) dynamic(b *hclsyntax.Block, schema BlockSchema, where string, open map[string]bool) {
	if len(b.Labels) != 1 {
		f.add(b.DefRange(), "%s: dynamic needs the block's name as its label", where)
		return
	}
	name := b.Labels[0]
	inner, ok := schema.Blocks[name]
	if !ok {
		f.noBlock(b.DefRange(), name, schema, where)
		return
	}
	open[name] = true
	if b.Body.Attributes["for_each"] == nil {
		f.add(b.DefRange(), "%s: dynamic %s needs for_each", where, name)
	}
	for argument, a := range b.Body.Attributes {
		if !strings.Contains(" for_each iterator labels ", " "+argument+" ") {
			f.add(a.SrcRange, "%s: dynamic %s has no %s", where, name, argument)
		}
	}
	var contents int
	for _, nested := range b.Body.Blocks {
		if nested.Type == "content" {
			contents++
			f.body(nested.Body, inner.Block, where+"."+name, nil, nil)
		}
	}
	if contents != 1 || len(b.Body.Blocks) != 1 {
		f.add(b.DefRange(), "%s: dynamic %s needs one content and nothing else", where, name)
	}
}
