//go:build !unix

package commit

// syncDir does nothing where folders cannot be synced.
func syncDir(string) error { return nil }
