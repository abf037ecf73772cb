package check

import (
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// leastDescription is how long a description has to be to say anything.
const leastDescription = 12

// Tidy finds variables that are not typed, described and validated, and outputs
// that are not described. A bool needs no validation: its type is one.
func Tidy(m *Module) []Finding {
	var f findings
	for _, v := range m.Of("variable", "") {
		typ := v.Body.Attributes["type"]
		if typ == nil {
			f.add(v.At, "%s has no type", v.Address())
		}
		f.described(v)
		validated := false
		for _, b := range v.Body.Blocks {
			validated = validated || b.Type == "validation"
			for _, name := range []string{"condition", "error_message"} {
				if b.Body.Attributes[name] == nil {
					f.add(b.DefRange(), "%s: validation needs %s", v.Address(), name)
				}
			}
		}
		if !validated && !isBool(typ) {
			f.add(v.At, "%s has no validation", v.Address())
		}
		if secret := v.Body.Attributes["sensitive"]; secret != nil && v.Body.Attributes["default"] != nil {
			f.add(v.At, "%s is sensitive and has a default", v.Address())
		}
	}
	for _, o := range m.Of("output", "") {
		f.described(o)
		if o.Body.Attributes["value"] == nil {
			f.add(o.At, "%s has no value", o.Address())
		}
	}
	return f.sorted()
}

func (f *findings) described(b *Block) {
	a := b.Body.Attributes["description"]
	if a == nil {
		f.add(b.At, "%s has no description", b.Address())
		return
	}
	text, ok := Literal(a.Expr)
	if !ok || len(text) < leastDescription || !strings.ContainsAny(text[len(text)-1:], ".)") {
		f.add(a.SrcRange, "%s: its description is not a sentence", b.Address())
	}
}

func isBool(a *hclsyntax.Attribute) bool {
	if a == nil {
		return false
	}
	t, ok := a.Expr.(*hclsyntax.ScopeTraversalExpr)
	return ok && t.Traversal.RootName() == "bool"
}
