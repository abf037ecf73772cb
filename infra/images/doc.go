// Command images builds what Tallystream runs from: one OCI image for amd64 and
// arm64, made without a daemon, and beside it the systemd units and the Packer
// template for those who run machines.
//
// Invariant: an image is a function of the source, the Go release and the
// release's name. Two builds give the same digest, whoever makes them, wherever
// and whenever: no clock, no path, no file of the building machine gets in.
package main
