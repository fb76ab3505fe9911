package main

import "runtime/debug"

// stamped is set by the linker in a release.
var stamped string

// version is what --version prints: the release, the module's version, or the
// commit.
func version() string {
	if stamped != "" {
		return stamped
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			return setting.Value
		}
	}
	return info.Main.Version
}
