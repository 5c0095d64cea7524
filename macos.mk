# What can be done for macOS without a Mac. Included by the Makefile.

.PHONY: check-macos wheel-macos

check-macos: ## check the code for macOS, on any system
	scripts/macos/check.sh

wheel-macos: ## build a wheel for macOS into dist/, on any system, and check its imports
	scripts/macos/wheel.sh
