//go:build !amd64

package vec

func implementations() []*loops { return []*loops{inGo()} }
