-- JWT for nginx: signature, iss, aud, exp and the scope of the route. peer.py fills in $creds and $cached.
local pkey, digest = require "openssl.pkey", require "openssl.digest"
local cjson = require "cjson.safe"
local b64 = require("ngx.base64").decode_base64url
local verified = require("resty.lrucache").new(20000)
local M = {}

local function file(path)
  local f = assert(io.open(path))
  local text = f:read("*a")
  f:close()
  return text
end

local keys = { RS256 = pkey.new(file("$creds/rs256.pub.pem")), ES256 = pkey.new(file("$creds/es256.pub.pem")) }

-- OpenSSL wants an ECDSA signature as DER; a JWT has r and s as 32 octets each.
local function der_int(s)
  s = s:gsub("^%z+", "")
  if s == "" or s:byte(1) > 127 then s = "\0" .. s end
  return "\2" .. string.char(#s) .. s
end

local function der(sig)
  local both = der_int(sig:sub(1, 32)) .. der_int(sig:sub(33))
  return "\48" .. string.char(#both) .. both
end

local function verify(token)
  local h, p, s = token:match("^([^.]+)%.([^.]+)%.([^.]+)$$")
  if not h then return nil end
  local head = cjson.decode(b64(h) or "")
  local key = type(head) == "table" and keys[head.alg]
  local sig = b64(s)
  if not key or not sig then return nil end
  if head.alg == "ES256" then
    if #sig ~= 64 then return nil end
    sig = der(sig)
  end
  local d = digest.new("sha256")
  d:update(h .. "." .. p)
  local ok, good = pcall(key.verify, key, sig, d)
  if not ok or not good then return nil end
  local c = cjson.decode(b64(p) or "")
  if type(c) ~= "table" or c.iss ~= "https://auth.bench.test" or c.aud ~= "portcullis-bench" then return nil end
  if type(c.exp) ~= "number" then return nil end
  local scopes = {}
  for scope in (c.scope or ""):gmatch("%S+") do scopes[scope] = true end
  return { exp = c.exp, scopes = scopes }
end

local function verify_once(token)
  local c = verified:get(token)
  if not c then
    c = verify(token)
    if c then verified:set(token, c, math.max(c.exp - ngx.time(), 0.001)) end
  end
  return c
end

local function need(service)
  local method = ngx.req.get_method()
  return service .. ((method == "GET" or method == "HEAD") and ":read" or ":write")
end

local claims_of = $cached and verify_once or verify

function M.check(service)
  local header = ngx.var.http_authorization
  local token = header and header:sub(1, 7) == "Bearer " and header:sub(8)
  if not token then return ngx.exit(401) end
  local c = claims_of(token)
  if not c or c.exp <= ngx.time() then return ngx.exit(401) end
  if not c.scopes[need(service)] then return ngx.exit(403) end
end

return M
