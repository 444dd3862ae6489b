# Every library from outside is found here and nowhere else. Nothing is downloaded: a missing one is an error that
# names the Debian package, which the set-up script installs.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

pkg_check_modules(UNICORN QUIET IMPORTED_TARGET unicorn)
if(NOT UNICORN_FOUND OR UNICORN_VERSION VERSION_LESS 2.1.1)
  message(FATAL_ERROR "Unicorn Engine 2.1.1 or newer is needed (found: '${UNICORN_VERSION}'). "
                      "Run ./setup.sh, which installs libunicorn-dev.")
endif()

foreach(dependency IN ITEMS "spdlog;libspdlog-dev" "CLI11;libcli11-dev" "nlohmann_json;nlohmann-json3-dev"
                            "tl-expected;libexpected-dev" "PNG;libpng-dev" "SDL2;libsdl2-dev"
                            "pugixml;libpugixml-dev" "GTest;libgtest-dev")
  list(GET dependency 0 package)
  list(GET dependency 1 debian)
  find_package(${package} QUIET)
  if(NOT ${package}_FOUND)
    message(FATAL_ERROR "${package} was not found: run ./setup.sh, which installs ${debian}.")
  endif()
endforeach()

foreach(dependency IN ITEMS "ZSTD;libzstd;libzstd-dev" "VHDI;libvhdi;libvhdi-dev")
  list(GET dependency 0 target)
  list(GET dependency 1 package)
  list(GET dependency 2 debian)
  pkg_check_modules(${target} QUIET IMPORTED_TARGET ${package})
  if(NOT ${target}_FOUND)
    message(FATAL_ERROR "${package} was not found: run ./setup.sh, which installs ${debian}.")
  endif()
endforeach()
