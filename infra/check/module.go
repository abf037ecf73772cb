package check

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Module is one directory of .tf files.
type Module struct {
	Dir    string // in the tree
	Blocks []*Block
	Locals map[string]*hclsyntax.Attribute
}

// Block is one top-level block: resource, data, module, variable, output,
// provider, terraform.
type Block struct {
	Kind string
	Type string // of a resource or data source: aws_vpc
	Name string // the last label
	Body *hclsyntax.Body
	At   hcl.Range
}

// Address is how expressions name the block: aws_vpc.this, data.aws_region.this,
// var.election.
func (b *Block) Address() string {
	switch b.Kind {
	case "resource":
		return b.Type + "." + b.Name
	case "data":
		return "data." + b.Type + "." + b.Name
	case "variable":
		return "var." + b.Name
	default:
		return b.Kind + "." + b.Name
	}
}

// labels of each kind of top-level block that we use. Any other is an error: a
// check that passes over what it does not know says nothing.
var labels = map[string]int{"resource": 2, "data": 2, "module": 1, "variable": 1, "output": 1, "provider": 1, "terraform": 0, "locals": 0}

// Load parses the .tf files of one directory.
func Load(tree fs.FS, dir string) (*Module, error) {
	names, err := fs.Glob(tree, path.Join(dir, "*.tf"))
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s: no .tf files", dir)
	}
	m := &Module{Dir: dir, Locals: map[string]*hclsyntax.Attribute{}}
	var failed []error
	for _, name := range names {
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return nil, err
		}
		file, problems := hclsyntax.ParseConfig(text, name, hcl.InitialPos)
		if problems.HasErrors() {
			failed = append(failed, problems)
			continue
		}
		failed = append(failed, m.take(file.Body.(*hclsyntax.Body)))
	}
	return m, errors.Join(failed...)
}

func (m *Module) take(body *hclsyntax.Body) error {
	var failed []error
	for _, a := range body.Attributes {
		failed = append(failed, fmt.Errorf("%s: an attribute outside of a block: %s", a.SrcRange, a.Name))
	}
	for _, b := range body.Blocks {
		want, known := labels[b.Type]
		if !known || len(b.Labels) != want {
			failed = append(failed, fmt.Errorf("%s: block %q with %d labels is not one of those that are checked", b.DefRange(), b.Type, len(b.Labels)))
			continue
		}
		if b.Type == "locals" {
			for name, a := range b.Body.Attributes {
				if before, twice := m.Locals[name]; twice {
					failed = append(failed, fmt.Errorf("%s: local.%s is also at %s", a.SrcRange, name, before.SrcRange))
				}
				m.Locals[name] = a
			}
			continue
		}
		block := &Block{Kind: b.Type, Body: b.Body, At: b.DefRange()}
		if want > 0 {
			block.Name = b.Labels[want-1]
		}
		if want == 2 {
			block.Type = b.Labels[0]
		}
		m.Blocks = append(m.Blocks, block)
	}
	return errors.Join(failed...)
}

// Of returns the module's blocks of a kind, and of a type unless typ is empty.
func (m *Module) Of(kind, typ string) []*Block {
	var out []*Block
	for _, b := range m.Blocks {
		if b.Kind == kind && (typ == "" || b.Type == typ) {
			out = append(out, b)
		}
	}
	return out
}

// Called is the directory of the module that a module block calls, or "" if its
// source is not a path in the tree.
func (m *Module) Called(call *Block) string {
	source, ok := call.Body.Attributes["source"]
	if !ok {
		return ""
	}
	text, ok := Literal(source.Expr)
	if !ok || !strings.HasPrefix(text, ".") {
		return ""
	}
	return path.Join(m.Dir, text)
}

// Literal is the text of an expression that is a plain string.
func Literal(e hclsyntax.Expression) (string, bool) {
	v, problems := e.Value(nil)
	if problems.HasErrors() || v.IsNull() || !v.IsKnown() || v.Type().FriendlyName() != "string" {
		return "", false
	}
	return v.AsString(), true
}

// LoadAll loads a directory and every module that it calls, by directory.
func LoadAll(tree fs.FS, roots ...string) (map[string]*Module, error) {
	modules := map[string]*Module{}
	var visit func(dir string) error
	visit = func(dir string) error {
		if modules[dir] != nil {
			return nil
		}
		m, err := Load(tree, dir)
		if err != nil {
			return err
		}
		modules[dir] = m
		for _, call := range m.Of("module", "") {
			if called := m.Called(call); called != "" {
				if err := visit(called); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for _, root := range roots {
		if err := visit(root); err != nil {
			return nil, err
		}
	}
	return modules, nil
}

// Dirs are the directories of modules in order.
func Dirs(modules map[string]*Module) []string {
	var out []string
	for dir := range modules {
		out = append(out, dir)
	}
	sort.Strings(out)
	return out
}
