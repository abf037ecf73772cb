// Package authority follows who may sign what, from the log alone.
//
// Invariant: it is a function of the leaves. Two auditors who read the same
// log agree on every key at every index, whenever they read it, because a
// change takes effect for the leaves behind the one that states it and a
// leaf's index never changes.
package authority
