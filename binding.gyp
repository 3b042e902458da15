# The shim that node-gyp and prebuildify call: CMakeLists.txt builds, the result is put where
# node-gyp-build looks. Where a prebuilt fits, scripts/install.mjs never comes here.
{
  "targets": [
    {
      "target_name": "millrace_cmake",
      "type": "none",
      "actions": [
        {
          "action_name": "cmake",
          "inputs": ["CMakeLists.txt"],
          "outputs": ["<(PRODUCT_DIR)/millrace.node"],
          "action": ["node", "scripts/compile.mjs", "<(PRODUCT_DIR)"]
        }
      ]
    }
  ]
}
