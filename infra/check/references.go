package check

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// References finds what names nothing: references between the blocks of each
// module, arguments of module calls, and outputs of called modules. It also finds
// what nothing names: variables and locals without a use.
func References(modules map[string]*Module, s *Schema) []Finding {
	var f findings
	for _, dir := range Dirs(modules) {
		m := modules[dir]
		c := references{m: m, modules: modules, schema: s, findings: &f, defined: map[string]*Block{}, used: map[string]bool{}}
		c.define()
		c.follow()
		c.unused()
		c.calls()
	}
	return f.sorted()
}

type references struct {
	*findings
	m       *Module
	modules map[string]*Module
	schema  *Schema
	defined map[string]*Block // by address
	used    map[string]bool   // addresses
}

func (c *references) define() {
	for _, b := range c.m.Blocks {
		if b.Kind == "terraform" || b.Kind == "provider" {
			continue
		}
		if before := c.defined[b.Address()]; before != nil {
			c.add(b.At, "%s is also at %s:%d", b.Address(), before.At.Filename, before.At.Start.Line)
		}
		c.defined[b.Address()] = b
	}
}

func (c *references) follow() {
	for _, b := range c.m.Blocks {
		c.body(b.Body, b, map[string]bool{})
	}
	for _, a := range c.m.Locals {
		c.expression(a.Expr, nil, nil)
	}
}

func (c *references) body(body *hclsyntax.Body, within *Block, iterators map[string]bool) {
	for _, a := range body.Attributes {
		if skipped(within, a.Name) {
			continue
		}
		c.expression(a.Expr, within, iterators)
	}
	for _, b := range body.Blocks {
		inner := iterators
		if b.Type == "dynamic" && len(b.Labels) == 1 {
			name := b.Labels[0]
			if a := b.Body.Attributes["iterator"]; a != nil {
				name = hcl.ExprAsKeyword(a.Expr)
			}
			inner = map[string]bool{name: true}
			for k := range iterators {
				inner[k] = true
			}
		}
		c.body(b.Body, within, inner)
	}
}

// skipped are arguments whose words are not references: types and names of
// providers, and the resource's own arguments in ignore_changes.
func skipped(within *Block, argument string) bool {
	switch argument {
	case "type":
		return within.Kind == "variable"
	case "provider", "providers", "ignore_changes", "iterator":
		return true
	default:
		return within.Kind == "terraform"
	}
}

func (c *references) expression(e hclsyntax.Expression, within *Block, iterators map[string]bool) {
	for _, t := range e.Variables() { // without those of for expressions
		c.traversal(t, within, iterators)
	}
}

func (c *references) traversal(t hcl.Traversal, within *Block, iterators map[string]bool) {
	at := t.SourceRange()
	root, step := t.RootName(), steps(t)
	switch root {
	case "each", "count", "self":
		c.scoped(root, at, within)
		return
	case "path", "terraform":
		return
	case "local":
		if len(step) == 0 || c.m.Locals[step[0]] == nil {
			c.add(at, "there is no %s", name("local", step, 1))
			return
		}
		c.used["local."+step[0]] = true
		return
	case "var":
		c.named(name("var", step, 1), at)
		return
	case "module":
		c.output(step, at)
		return
	case "data":
		c.attribute(name("data", step, 2), step, 2, at, within)
		return
	}
	if iterators[root] {
		return
	}
	c.attribute(name(root, step, 1), step, 1, at, within)
}

// steps are the attribute names of a traversal after its root, indexes left out.
func steps(t hcl.Traversal) []string {
	var out []string
	for _, s := range t[1:] {
		if a, ok := s.(hcl.TraverseAttr); ok {
			out = append(out, a.Name)
		}
	}
	return out
}

func name(root string, steps []string, most int) string {
	for _, s := range steps[:min(most, len(steps))] {
		root += "." + s
	}
	return root
}

func (c *references) named(address string, at hcl.Range) bool {
	if c.defined[address] == nil {
		c.add(at, "there is no %s", address)
		return false
	}
	c.used[address] = true
	return true
}

// attribute checks aws_x.name.attribute, whose attribute is step number n.
func (c *references) attribute(address string, step []string, n int, at hcl.Range, within *Block) {
	if !c.named(address, at) || len(step) <= n {
		return
	}
	b := c.defined[address]
	schemas := c.schema.Resources
	if b.Kind == "data" {
		schemas = c.schema.DataSources
	}
	schema, ok := schemas[b.Type]
	if !ok {
		return // Arguments says so
	}
	_, argument := schema.Block.Attributes[step[n]]
	_, block := schema.Block.Blocks[step[n]]
	if !argument && !block {
		c.add(at, "%s has no %s", b.Type, step[n])
	}
	if within != nil && within.Address() == address {
		c.add(at, "%s refers to itself", address)
	}
}

// scoped checks each and count against their block, and self.
func (c *references) scoped(root string, at hcl.Range, within *Block) {
	meta := map[string]string{"each": "for_each", "count": "count"}[root]
	switch {
	case within == nil:
		c.add(at, "%s has no meaning in locals", root)
	case meta != "" && within.Body.Attributes[meta] == nil:
		c.add(at, "%s without %s in %s", root, meta, within.Address())
	}
}

// output checks module.name.output.
func (c *references) output(step []string, at hcl.Range) {
	address := name("module", step, 1)
	if !c.named(address, at) || len(step) < 2 {
		return
	}
	called := c.modules[c.m.Called(c.defined[address])]
	if called == nil {
		return // calls says so
	}
	for _, o := range called.Of("output", "") {
		if o.Name == step[1] {
			return
		}
	}
	c.add(at, "%s has no output %s", address, step[1])
}

func (c *references) unused() {
	for _, v := range c.m.Of("variable", "") {
		if !c.used[v.Address()] {
			c.add(v.At, "%s is not used", v.Address())
		}
	}
	for name, a := range c.m.Locals {
		if !c.used["local."+name] {
			c.add(a.SrcRange, "local.%s is not used", name)
		}
	}
	for _, d := range c.m.Of("data", "") {
		// One with a postcondition is there for that.
		if !c.used[d.Address()] && len(d.Body.Blocks) == 0 {
			c.add(d.At, "%s is not used", d.Address())
		}
	}
}

// calls holds each module call against the variables of the module, and its
// providers against those that the module asks for.
func (c *references) calls() {
	for _, call := range c.m.Of("module", "") {
		called := c.modules[c.m.Called(call)]
		if called == nil {
			c.add(call.At, "%s: its source is not a module of this tree", call.Address())
			continue
		}
		variables := map[string]*Block{}
		for _, v := range called.Of("variable", "") {
			variables[v.Name] = v
			if v.Body.Attributes["default"] == nil && call.Body.Attributes[v.Name] == nil {
				c.add(call.At, "%s: %s is required", call.Address(), v.Name)
			}
		}
		for argument, a := range call.Body.Attributes {
			if variables[argument] == nil && !metaArguments["module"][argument] {
				c.add(a.SrcRange, "%s: the module has no variable %s", call.Address(), argument)
			}
		}
	}
}
